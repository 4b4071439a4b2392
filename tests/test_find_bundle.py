"""Whose code runs: that of this library's bundles by their names, that of others only if the user trusts them."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import retina_monai
from retina_monai.__main__ import main
from retina_monai.bundle import find_bundle, find_bundle_root, load_network_of, release
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.faithfulness.painting import find_painter
from retina_monai.synthesis import synthesize

BUNDLES = Path(retina_monai.__file__).resolve().parent.parent / "bundles"
NAMES = ("pix2pix_vessel", "pix2pix_color_vessel", "lama_fundus", "mine")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What the code of the foreign bundles leaves."""
    return tmp_path / "code_ran"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: in it bundles that run code, some of the library's names."""
    folder = tmp_path / "elsewhere"
    for name in NAMES:
        shutil.copytree(BUNDLES / "pix2pix_vessel" / "configs", folder / name / "configs")
        path = folder / name / "configs" / "inference.json"
        config = json.loads(path.read_text())
        touch = f"$__import__('pathlib').Path({str(mark)!r}).touch()"
        path.write_text(json.dumps(config | {"size": touch, "device": touch, "network_def": touch}))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", ["pix2pix_vessel", "lama_fundus"])
def test_a_name_is_a_bundle_of_this_library(name: str) -> None:
    assert find_bundle(name) == BUNDLES / name
    assert find_bundle(f"{BUNDLES}/{name}") == BUNDLES / name
    assert find_bundle(BUNDLES / name) == BUNDLES / name


def test_what_is_loaded_by_name_is_this_library_s(mark: Path) -> None:
    assert retina_monai.load("pix2pix_vessel").root == BUNDLES / "pix2pix_vessel"
    assert retina_monai.load("two_stage").root == BUNDLES / "lama_fundus"
    assert not mark.exists()


@pytest.mark.parametrize("name", ["mine", "", "no_such_bundle"])
def test_a_name_that_is_none_of_this_library_is_unknown(name: str) -> None:
    with pytest.raises(RetinaError, match=f"there is no bundle {name}: "):
        find_bundle(name, trust=True)


@pytest.mark.parametrize("path", ["./mine", "../elsewhere/mine", "./pix2pix_vessel", Path("mine"), Path("lama_fundus")])
def test_a_path_of_another_origin_has_to_be_trusted(path: str | Path, mark: Path) -> None:
    calls: list[Any] = [
        lambda: retina_monai.load(path),
        lambda: retina_monai.generate(path),
        lambda: load_network_of(path),
        lambda: synthesize(path),
        lambda: release("run", path, overwrite=True),
        lambda: find_painter({"bundle": "pix2pix_vessel"}, path),
    ]
    for call in calls:
        with pytest.raises(RetinaError, match="is not a bundle of this library"):
            call()
    assert not mark.exists()
    assert find_bundle(path, trust=True) == Path(path).resolve()


def test_a_chain_of_another_origin_has_to_be_trusted(mark: Path) -> None:
    calls: list[Any] = [retina_monai.load, synthesize]
    for call in calls:
        with pytest.raises(RetinaError, match="--trust true"):
            call("./two_stage")
    assert not mark.exists()


def test_a_link_to_a_bundle_of_this_library_is_one(elsewhere: Path) -> None:
    (elsewhere / "link").symlink_to(BUNDLES / "pix2pix_vessel")
    assert find_bundle("./link") == BUNDLES / "pix2pix_vessel"


def test_a_set_that_names_a_path_as_its_generator_runs_nothing(elsewhere: Path, mark: Path) -> None:
    for bundle in ("./mine", str(elsewhere / "mine"), "mine", "./two_stage"):
        assert find_painter({"bundle": bundle, "weights": "0" * 64}) is None
    assert not mark.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["synthesize", "./mine"],
        ["release", "run", "./mine", "--overwrite", "true"],
        ["synthesize", "--bundle=./two_stage"],
    ],
    ids=str,
)
def test_the_command_line_asks_for_trust(command: list[str], mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["retina_monai", *command])
    with pytest.raises(RetinaError, match="--trust true"):
        main()
    assert not mark.exists()


def test_trusted_code_runs(mark: Path) -> None:
    with suppress(Exception):  # the bundle does nothing else, so that loading it fails
        retina_monai.load("./mine", trust=True)
    assert mark.exists()


def test_a_config_belongs_to_the_current_directory_only_if_that_is_a_copy_of_its_bundle(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere / "mine")
    assert find_bundle_root("pix2pix_vessel") == str(elsewhere / "mine")
    assert find_bundle_root("lama_fundus") == str(BUNDLES / "lama_fundus")

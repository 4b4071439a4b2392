"""What a bundle says of its weights, when they are replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from retina_monai.bundle import release
from retina_monai.data.listing.weights_origin import FILE, read_training
from retina_monai.errors import RetinaError
from retina_monai.files import write_json
from retina_monai.networks import IterNet

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "iternet_vessel"
RECORD = {"datasets": ["clinic"], "eyes": 12, "fingerprint": "abcdef" * 10, "patients": ["0" * 16], "complete": True}
RECORD |= {"seed": 0, "date": "2031-05-01", "package": "retina_monai 9", "monai": "1.9.9", "torch": "2.99"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle in its first version."""
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("runs")))
    write_json(
        bundle / "configs" / "metadata.json", metadata(bundle) | {"version": "0.1.0", "changelog": {"0.1.0": ""}}
    )
    return bundle


def train(folder: Path, seed: int, record: dict[str, Any] | None = None) -> Path:
    """What a training leaves."""
    folder.mkdir()
    torch.manual_seed(seed)
    torch.save(IterNet().state_dict(), folder / "model.pt")
    if record is not None:
        write_json(folder / FILE, record)
    return folder


def metadata(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / "configs" / "metadata.json").read_text())
    return content


def card(bundle: Path) -> str:
    return (bundle / "docs" / "README.md").read_text()


def test_weights_are_not_overwritten_unasked(copy: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", 0, RECORD)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(RetinaError, match=r"model\.pt holds weights: give --overwrite true"):
        release(run, copy, trust=True)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_the_bundle_says_what_its_weights_are(copy: Path, tmp_path: Path) -> None:
    before = metadata(copy)
    release(train(tmp_path / "run", 0, RECORD), copy, overwrite=True, trust=True)
    after = metadata(copy)
    assert (before["version"], after["version"]) == ("0.1.0", "0.2.0")
    assert list(after["changelog"]) == ["0.2.0", *before["changelog"]]
    assert "trained on clinic (12 eyes, fingerprint abcdefabcdef)" in after["changelog"]["0.2.0"]
    assert (after["monai_version"], after["pytorch_version"]) == ("1.9.9", "2.99")
    assert after["data_source"].startswith("clinic; their terms are not recorded")
    assert after["eval_metrics"] == {"status": "not measured for version 0.2.0"}
    assert read_training(copy / "models" / "model.pt") == RECORD


def test_the_card_says_so_at_the_top_of_its_figures(copy: Path, tmp_path: Path) -> None:
    before = card(copy)
    release(train(tmp_path / "run", 0, RECORD), copy, overwrite=True, trust=True)
    _, below = card(copy).split("## Performance\n")
    mark = below.lstrip("\n").partition("\n")[0]
    assert mark.startswith("> **Not measured for these weights.** Version 0.2.0 of ")
    assert "The figures below are those of version 0.1.0" in mark
    assert card(copy).replace(f"\n{mark}\n", "", 1) == before


def test_the_same_release_again_changes_nothing(copy: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", 0, RECORD)
    release(run, copy, overwrite=True, trust=True)
    once = metadata(copy), card(copy)
    release(run, copy, overwrite=True, trust=True)
    assert (metadata(copy), card(copy)) == once


def test_another_release_keeps_saying_whose_the_figures_are(copy: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        release(train(tmp_path / f"run{seed}", seed, RECORD), copy, overwrite=True, trust=True)
    assert metadata(copy)["version"] == "0.3.0"
    assert card(copy).count("Not measured for these weights") == 1
    assert "Version 0.3.0 of " in card(copy) and "those of version 0.1.0" in card(copy)


def test_a_training_without_a_record_leaves_none_of_the_old_ones(copy: Path, tmp_path: Path) -> None:
    release(train(tmp_path / "run", 0), copy, overwrite=True, trust=True)
    assert read_training(copy / "models" / "model.pt") is None
    assert "no training.json" in metadata(copy)["data_source"]


def test_known_data_keep_their_terms(copy: Path, tmp_path: Path) -> None:
    again = RECORD | {"datasets": ["CHASE_DB1", "FIVES", "HRF"]}
    source = metadata(copy)["data_source"]
    release(train(tmp_path / "run", 0, again), copy, overwrite=True, trust=True)
    assert metadata(copy)["data_source"] == source

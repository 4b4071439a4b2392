"""Ten thousand files, of which three are broken in three ways: all three are named at once, or left out and counted."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image
from wrong_input.cases import spoil_three
from wrong_input.material import contents

from retina_monai.__main__ import VERBS
from retina_monai.errors import root_error

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel" / "configs"
EYES = 5000
BROKEN = ("vessels/eye_0007.png", "images/eye_2500.png", "vessels/eye_4999.png")

Open = Callable[..., ConfigWorkflow]


@pytest.fixture(scope="module")
def many(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs and vessel maps, links to a few files of 64 px."""
    folder = tmp_path_factory.mktemp("many")
    for kind in ("images", "vessels"):
        (folder / "eyes" / kind).mkdir(parents=True)
        sources = []
        for eye in range(8):
            sources.append(folder / f"{kind}_{eye}.png")
            with Image.open(phantoms / kind / f"phantom_{eye:05d}.png") as picture:
                picture.resize((64, 64), Image.Resampling.NEAREST).save(sources[-1])
        for eye in range(EYES):
            os.link(sources[eye % 8], folder / "eyes" / kind / f"eye_{eye:04d}.png")
    for name in BROKEN:  # files of their own, no links
        path = folder / "eyes" / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    spoil_three(*(folder / "eyes" / name for name in BROKEN))
    return folder / "eyes"


@pytest.fixture
def begin(small_for: Callable[..., dict[str, Any]], trained: Path, tmp_path: Path) -> Open:
    """Begin a training or an inference, as far as everything is known to be in order."""

    def run(config: str, **overrides: Any) -> ConfigWorkflow:
        path = str(CONFIGS / f"{config}.json")
        weights = {"checkpoint": str(trained / "model.pt")} if config == "inference" else {}
        settings = small_for(path) | {"output_dir": str(tmp_path / "run")} | weights | overrides
        workflow = ConfigWorkflow(config_file=path, logging_file=False, **settings)
        workflow.initialize()
        return workflow

    return run


def names_all(sentence: str) -> bool:
    return "\n" not in sentence and all(name in sentence for name in BROKEN)


def test_prepare(many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = contents(many)
    command = ["prepare", str(many), f"--output={tmp_path / 'datalist.json'}"]
    with pytest.raises(Exception) as caught:
        fire.Fire(VERBS, command=command)
    assert names_all(str(root_error(caught.value)))
    assert list(tmp_path.iterdir()) == []

    with caplog.at_level(logging.WARNING, "retina_monai"):
        fire.Fire(VERBS, command=[*command, "--skip_unreadable"])
    (warning,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert re.search(r"left out 3 of 5000 eyes", warning) and names_all(warning)
    datalist = json.loads((tmp_path / "datalist.json").read_text())
    assert sum(len(datalist[split]) for split in ("training", "validation", "test") if split in datalist) == EYES - 3
    assert contents(many) == before


@pytest.mark.parametrize(("config", "key"), [("train", "dataset_dir"), ("inference", "input_dir")])
def test_training_and_inference(
    many: Path, begin: Open, config: str, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Exception) as caught:
        begin(config, **{key: str(many)}).parser.get_parsed_content("dataset" if config == "inference" else "datalist")
    assert names_all(str(root_error(caught.value)))

    with caplog.at_level(logging.WARNING, "retina_monai"):
        parser = begin(config, **{key: str(many), "skip_unreadable": "true"}).parser
        if config == "inference":
            found = len(parser.get_parsed_content("dataset"))
        else:
            found = sum(len(items) for items in parser.get_parsed_content("datalist").values())
    assert found == EYES - 3
    (warning,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert re.search(r"left out 3 of 5000 eyes", warning) and names_all(warning)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_maps_alone(many: Path, begin: Open) -> None:
    maps = many / "vessels"
    with pytest.raises(Exception) as caught:
        begin("inference", input_dir=str(maps)).parser.get_parsed_content("dataset")
    sentence = str(root_error(caught.value))
    assert "eye_0007.png" in sentence and "eye_4999.png" in sentence and "\n" not in sentence
    parser = begin("inference", input_dir=str(maps), skip_unreadable=True).parser
    assert len(parser.get_parsed_content("dataset")) == EYES - 2

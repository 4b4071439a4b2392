"""The curve of few steps: every sampler of the weights, lines that are not made twice, and the table."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch

from retina_monai.data import write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.networks import ConditionedUNet, DiffusionGenerator

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def curve() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield importlib.import_module("sampling_curve")
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return write_phantoms(folder / "phantoms", 9, 64, 0).parent


def weights(folder: Path, process: str) -> Path:
    torch.manual_seed(0)
    network = DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1, 2)), process)
    folder.mkdir()
    torch.save(network.state_dict(), folder / "model.pt")
    target = f"{type(network).__module__}.{type(network).__qualname__}"
    (folder / "network.json").write_text(json.dumps({"_target_": target, **network.arguments}))
    return folder / "model.pt"


def test_every_sampler_is_measured_once(
    curve: ModuleType,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(curve, "DATASETS", ("phantoms",))
    files = [str(weights(tmp_path / process, process)) for process in ("velocity", "flow")]
    path = tmp_path / "sampling.json"
    curve.main(str(data), files[0], output=str(path), size=32, steps=(1, 3), samplers=("ddim", "ddpm"))
    first = json.loads(path.read_text())
    measured = [(line["process"], line["sampler"], line["steps"]) for line in first["lines"]]
    assert measured == [("velocity", sampler, steps) for sampler in ("ddim", "ddpm") for steps in (1, 3)]
    assert first["about"]["generated"] == 2 * first["about"]["real"] and first["about"]["floor"] > 0
    for line in first["lines"]:
        assert line["seconds"] > 0 and line["standard_error"] > 0 and 0 <= line["cldice"] <= 1
    assert first["lines"][0]["kid"] != first["lines"][1]["kid"]

    curve.main(str(data), *files, output=str(path), size=32, steps=3)
    again = json.loads(path.read_text())
    assert again["lines"][:4] == first["lines"], "what is there is not made again"
    assert [(line["process"], line["sampler"]) for line in again["lines"][4:]] == [
        ("velocity", "pndm"),
        ("flow", "euler"),
    ]
    table = curve.describe(again)
    assert len(table.splitlines()) == 2 + 6
    assert table in capsys.readouterr().out


def test_the_card_has_the_curve(curve: ModuleType) -> None:
    docs = ROOT / "bundles" / "ddpm_vessel" / "docs"
    if not (docs / "reports" / "sampling.json").is_file():
        pytest.skip("there is no curve yet: scripts/sampling_curve.py makes it")
    report = json.loads((docs / "reports" / "sampling.json").read_text())
    assert curve.describe(report) in (docs / "README.md").read_text(encoding="utf-8")
    assert "/" not in report["about"]["judge"]


def test_lines_that_were_measured_otherwise_are_refused(curve: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "sampling.json").write_text(json.dumps({"about": {"seed": 0}, "lines": []}))

    class Nothing:
        about: ClassVar = {"seed": 1}

        def __init__(self, *_: Any) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "Conditions", Nothing)
        with pytest.raises(RetinaError, match=r"sampling.json holds lines that were measured otherwise: remove it"):
            curve.main("DATA", output=str(tmp_path / "sampling.json"))


def test_an_unknown_sampler_is_refused(curve: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match="there is no sampler heun"):
        curve._lines(str(weights(tmp_path / "flow", "flow")), ["heun"], [4], [1.0])

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
from matplotlib.colors import to_rgb
from PIL import Image
from torch import Tensor

from retina_monai.data import find_datalist, write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.networks import ConditionedUNet, DiffusionGenerator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def curve() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield importlib.import_module("sampling_curve")
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("phantoms", "others")):
        write_phantoms(folder / name, 9, 64, seed)
    return folder


def judge(image: Tensor, fov: Tensor) -> Tensor:
    """A quick one: what is darker in green than most of the picture."""
    green = image[:, 1:2]
    return (green < green.flatten(1).quantile(0.2, dim=1)[:, None, None, None]) * fov


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
    monkeypatch.setattr(curve, "load_judge", lambda: (judge, {}))
    files = [str(weights(tmp_path / process, process)) for process in ("velocity", "flow")]
    path = tmp_path / "sampling.json"
    curve.main(str(data), files[0], output=str(path), size=32, steps=(1, 3), samplers=("ddim", "ddpm"))
    first = json.loads(path.read_text())
    measured = [(line["process"], line["sampler"], line["steps"]) for line in first["lines"]]
    assert measured == [("velocity", sampler, steps) for sampler in ("ddim", "ddpm") for steps in (1, 3)]
    assert first["about"]["generated"] == first["about"]["real"] and first["about"]["floor"] > 0
    for line in first["lines"]:
        assert line["seconds"] > 0 and line["standard_error"] > 0 and 0 <= line["cldice"] <= 1
    assert first["lines"][0]["kid"] != first["lines"][1]["kid"]

    curve.main(str(data), *files, output=str(path), size=32, steps=3, picture=str(tmp_path / "curve.png"))
    with Image.open(tmp_path / "curve.png") as picture:
        colours = {tuple(colour[:3]) for _, colour in picture.getcolors(10**6)}
    drawn = {to_rgb(f"C{place}") for place in range(4)}
    assert {tuple(round(255 * channel) for channel in colour) for colour in drawn} <= colours, "four samplers"
    again = json.loads(path.read_text())
    for place, line in enumerate(first["lines"]):
        later = again["lines"][place]
        assert later == line | {"seconds": later["seconds"]}, "what is there is not made again"
        assert (later["seconds"] == line["seconds"]) == (line["steps"] == 1), "seconds are, of what is asked for"
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


def test_conditions_are_training_eyes_with_noise_of_their_own(
    curve: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("phantoms", "others")
    monkeypatch.setattr(curve, "DATASETS", names)
    conditions = curve.Conditions(str(data), 32, 0)
    eyes = find_datalist([str(data / name) for name in names])["training"]
    assert {item["source"] for item in conditions.items} == {eye["vessel"] for eye in eyes}
    assert len({item["latent"] for item in conditions.items}) == len(conditions.items) == len(eyes)


class Copies(torch.nn.Module):
    """A generator that draws given pictures, whatever it is asked for."""

    steps = 1
    arguments: ClassVar = {"sampler": "none"}

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self.pictures, self.drawn = pictures, 0

    def noise(self, latents: Tensor, height: int, width: int) -> Tensor:
        return torch.zeros(len(latents), 3, height, width)

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        self.drawn += len(image)
        return self.pictures[self.drawn - len(image) : self.drawn]


def test_photographs_are_near_photographs_and_noise_is_not(
    curve: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "DATASETS", ("phantoms",))
    conditions = curve.Conditions(str(data), 32, 0)
    eyes = find_datalist([str(data / "phantoms")])["training"]
    true = torch.stack([curve._canonical(eye, 32) for eye in eyes])
    noise = torch.rand(true.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = [conditions.measure(Copies(pictures))["kid"] for pictures in (true, noise)]
    assert abs(found[0]) < 3 * conditions.about["floor"] and found[1] > 10 * conditions.about["floor"]


class Nothing:
    about: ClassVar = {"seed": 1, "floor": 0.1}

    def __init__(self, *_: Any) -> None: ...


def test_lines_that_were_measured_otherwise_are_refused(
    curve: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sampling.json").write_text(json.dumps({"about": {"seed": 0, "floor": 0.1}, "lines": []}))
    monkeypatch.setattr(curve, "Conditions", Nothing)
    with pytest.raises(RetinaError, match=r"sampling.json was measured under other conditions: remove it"):
        curve.main("DATA", output=str(tmp_path / "sampling.json"))


def test_each_process_has_one_file_of_weights(
    curve: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {"process": "flow", "weights": "0" * 64}
    (tmp_path / "sampling.json").write_text(json.dumps({"about": Nothing.about, "lines": [line]}))
    monkeypatch.setattr(curve, "Conditions", Nothing)
    with pytest.raises(RetinaError, match="one file of weights per process, got two for flow: give another --output"):
        curve.main("DATA", str(weights(tmp_path / "flow", "flow")), output=str(tmp_path / "sampling.json"))


def test_weights_that_do_not_tell_their_process_are_refused(curve: ModuleType, tmp_path: Path) -> None:
    file = weights(tmp_path / "flow", "flow")
    file.with_name("network.json").unlink()
    with pytest.raises(RetinaError, match=r"has no network\.json next to it"):
        curve.main("DATA", str(file), output=str(tmp_path / "sampling.json"))


def test_steps_that_cannot_be_are_refused_first(curve: ModuleType, tmp_path: Path) -> None:
    file = weights(tmp_path / "flow", "flow")
    with pytest.raises(RetinaError, match=r"steps must be in \[1, 1000\], got 0"):
        curve.main("DATA", str(file), output=str(tmp_path / "sampling.json"), steps=(4, 0))


def test_an_unknown_sampler_is_refused(curve: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match="there is no sampler heun"):
        curve.main("DATA", str(weights(tmp_path / "flow", "flow")), output="never", samplers="heun")

"""The judge gives probabilities at the size that it is asked at, whatever the size at which it looks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retina_monai.bundle import find_bundle
from retina_monai.data import LoadEyed, find_datalist
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.judge import BUNDLE, VesselJudge, load_judge
from retina_monai.metrics import dice, roc_auc
from retina_monai.networks import IterNet
from retina_monai.transforms import PhotographRanged


class Dark(nn.Module):
    """Vessel is what is dark; remembers what it saw."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return (image[:, 1:2] < 0).float()


def judge(size: int) -> VesselJudge:
    found = VesselJudge(Dark(), size)
    found.low = False
    return found


def checks(size: int, cell: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(size) // cell
    board = ((place[:, None] + place[None]) % 2).float()
    return (board * 1.6 - 0.8)[None, None].expand(2, 3, -1, -1), torch.ones(2, 1, size, size)


@pytest.mark.parametrize("looks", [64, 128, 160, 48])
def test_what_comes_back_is_of_the_size_that_was_given(looks: int) -> None:
    image, fov = checks(64, 16)
    found = judge(looks)(image, fov)
    assert found.shape == (2, 1, 64, 64) and found.dtype == torch.float32
    inner = (torch.arange(64) % 16 - 7.5).abs() < 5
    truth = (image[:, 1:2] < 0).float()
    where = inner[:, None] & inner[None]
    assert torch.equal((found >= 0.5).float()[..., where], truth[..., where])


def test_half_of_an_enlarged_pixel_is_the_threshold() -> None:
    image, fov = torch.full((1, 3, 128, 128), 0.5), torch.ones(1, 1, 128, 128)

    class Half(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            columns = torch.arange(image.shape[-1]) % 2
            return columns.float().expand_as(image[:, :1])

    found = VesselJudge(Half(), 256)(image, fov)
    assert torch.equal(found, torch.full_like(found, 0.5))


def test_the_longer_side_is_what_it_looks_at() -> None:
    network = Dark()
    found = VesselJudge(network, 200)(torch.zeros(1, 3, 100, 60), torch.ones(1, 1, 100, 60))
    assert network.seen.shape == (1, 3, 200, 120) and found.shape == (1, 1, 100, 60)


def test_outside_of_the_field_of_view_it_sees_black_and_says_nothing() -> None:
    image, fov = checks(64, 16)
    fov = fov.clone()
    fov[..., :20] = 0
    network = Dark()
    found = VesselJudge(network, 128)(image, fov)
    assert not found[..., :20].any() and bool((network.seen[..., :38] == -1).all())


def test_eyes_are_judged_one_by_one() -> None:
    network = Dark()
    image, fov = checks(64, 16)
    both = VesselJudge(network, 64)(image, fov)
    assert len(network.seen) == 1
    assert torch.equal(both[:1], VesselJudge(network, 64)(image[:1], fov[:1]))


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, H, W\) and \(B, 1, H, W\), got \(1, 1, 8, 8\) and"):
        judge(8)(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))


def test_other_weights_of_any_size_are_loaded_and_named(tmp_path: Path) -> None:
    network = IterNet(features=4, levels=2, iterations=1, small_levels=2)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    named = {"_target_": "retina_monai.networks.IterNet"} | network.arguments
    (tmp_path / "network.json").write_text(json.dumps(named))
    found, name = load_judge(tmp_path / "model.pt")
    assert name.startswith("iternet_vessel 0.") and "SHA-256" in name
    assert found(torch.zeros(1, 3, 128, 128), torch.ones(1, 1, 128, 128)).shape == (1, 1, 128, 128)


def test_without_weights_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RetinaError, match=r"no weights .*nowhere\.pt of the judge iternet_vessel: give others"):
        load_judge(tmp_path / "nowhere.pt")
    copy = shutil.copytree(find_bundle(BUNDLE), tmp_path / "bundle", ignore=shutil.ignore_patterns("models", "runs"))
    monkeypatch.setattr("retina_monai.evaluation.measuring.judge.find_bundle", lambda name: Path(copy))
    with pytest.raises(RetinaError, match="of the judge iternet_vessel: train it"):
        load_judge()


def test_the_released_judge_reads_a_phantom_that_it_never_saw(phantoms: Path) -> None:
    if not (find_bundle(BUNDLE) / "models" / "model.pt").is_file():
        pytest.skip("iternet_vessel has no released weights yet")
    found, _ = load_judge()
    eye = PhotographRanged()(LoadEyed(128)(find_datalist(phantoms)["test"][0]))
    image, vessel, fov = (eye[key][None] for key in ("image", "vessel", "fov"))
    pred = found(image, fov)
    assert float(roc_auc(pred, vessel, fov)) > 0.85 and float(dice(pred >= 0.5, vessel, fov)) > 0.45


def test_it_reads_a_real_eye(real_set: object) -> None:
    if not (find_bundle(BUNDLE) / "models" / "model.pt").is_file():
        pytest.skip("iternet_vessel has no released weights yet")
    item = find_datalist(real_set("CHASE_DB1"))["validation"][0]
    eye = PhotographRanged()(LoadEyed(256)(item))
    image, vessel, fov = (eye[key][None] for key in ("image", "vessel", "fov"))
    pred = load_judge()[0](image, fov)
    assert float(dice(pred >= 0.5, vessel, fov)) > 0.65
    assert np.isfinite(pred.numpy()).all()

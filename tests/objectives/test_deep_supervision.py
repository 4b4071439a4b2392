"""Each iteration is supervised, inside the field of view and nowhere else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retina_monai.networks import IterNet
from retina_monai.objectives import DeepSupervision

BIG = 30.0


class Says(nn.Module):
    """Returns what it was made with."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits


def batch(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    vessel = (torch.rand(2, 1, 8, 8, generator=random) > 0.7).float()
    fov = torch.zeros(2, 1, 8, 8)
    fov[..., :6] = 1
    return {"image": torch.zeros(2, 3, 8, 8), "vessel": vessel, "fov": fov}


def losses(logits: Tensor, **weights: float) -> dict[str, Tensor]:
    objective, data = DeepSupervision(Says(logits), **weights), batch()
    return objective.losses(data, objective.forward(data))


def test_the_truth_costs_nothing_and_its_opposite_everything() -> None:
    truth = (batch()["vessel"] * 2 - 1) * BIG
    right, wrong = losses(truth), losses(-truth)
    assert float(right["s_cross_entropy"]) < 1e-6 and float(right["s_dice"]) < 1e-6
    assert float(wrong["s_cross_entropy"]) == pytest.approx(BIG, rel=1e-4)
    assert float(wrong["s_dice"]) > 0.9


def test_values_by_hand() -> None:
    data, found = batch(), losses(torch.zeros(2, 1, 8, 8))
    pixels, vessels = float(data["fov"].sum()), float((data["vessel"] * data["fov"]).sum())
    assert float(found["s_cross_entropy"]) == pytest.approx(math.log(2))
    assert float(found["s_dice"]) == pytest.approx(1 - (vessels + 1) / (pixels / 2 + vessels + 1))


def test_weights_multiply() -> None:
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    one, other = losses(logits), losses(logits, cross_entropy_weight=3.0, dice_weight=0.0)
    assert float(other["s_cross_entropy"]) == pytest.approx(3 * float(one["s_cross_entropy"]))
    assert float(other["s_dice"]) == 0 < float(one["s_dice"])


def test_iterations_count_alike() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    together, apart = losses(logits), [losses(logits[:, [n]]) for n in range(3)]
    for name, value in together.items():
        torch.testing.assert_close(value, torch.stack([part[name] for part in apart]).mean())


def test_nothing_outside_of_the_field_of_view_counts() -> None:
    objective, data = DeepSupervision(Says(torch.randn(2, 2, 8, 8))), batch()
    sum(objective.losses(data, objective.forward(data)).values(), torch.zeros(())).backward()
    gradient = objective.networks["segmenter"].logits.grad
    assert not gradient[..., 6:].any() and gradient[..., :6].all()


def test_cross_entropy_is_torchs() -> None:
    logits, data = torch.randn(2, 1, 8, 8), batch()
    expected = binary_cross_entropy_with_logits(logits[..., :6], data["vessel"][..., :6])
    torch.testing.assert_close(losses(logits)["s_cross_entropy"], expected)


def test_a_patch_without_field_of_view_is_finite() -> None:
    objective, data = DeepSupervision(Says(torch.zeros(2, 1, 8, 8))), batch()
    data["fov"] = torch.zeros_like(data["fov"])
    assert all(float(value) == 0 for value in objective.losses(data, objective.forward(data)).values())


def test_it_learns_one_batch_by_heart() -> None:
    torch.manual_seed(0)
    data = batch() | {"image": torch.rand(2, 3, 8, 8) * 2 - 1}
    objective = DeepSupervision(IterNet(features=8, levels=2, iterations=1, small_levels=2))
    optimizer = torch.optim.AdamW(objective.networks.parameters(), 0.01)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        total = torch.stack(list(objective.losses(data, objective.forward(data)).values())).sum()
        total.backward()
        optimizer.step()
        values.append(float(total))
    assert values[-1] < 0.3 * values[0]

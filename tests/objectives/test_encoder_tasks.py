from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from retina_monai.objectives import EncoderTasks

NAN = math.nan


class Told(nn.Module):
    """Tells what its parameters hold, whatever it is shown."""

    def __init__(self, maps: Tensor, traits: Tensor) -> None:
        super().__init__()
        self.maps, self.traits = nn.Parameter(maps), nn.Parameter(traits)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"features": image.mean((2, 3)), "maps": self.maps, "traits": self.traits}


def losses(maps: Tensor, traits: Tensor, batch: dict[str, Tensor], **weights: float) -> tuple[Told, dict[str, Tensor]]:
    network = Told(maps, traits)
    objective = EncoderTasks(network, **weights)
    batch = {"image": torch.zeros(len(maps), 3, 4, 4), **batch}
    return network, objective.losses(batch, objective.forward(batch))


def test_known_values() -> None:
    maps = torch.tensor([[[[0.0, math.log(3.0)]]]])
    target = torch.tensor([[[[1.0, 0.0]]]])
    _, found = losses(maps, torch.tensor([[0.5, 0.0]]), {"maps": target, "traits": torch.tensor([[0.0, 0.05]])})
    assert found["e_maps"].item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert found["e_traits"].item() == pytest.approx(((0.5 - 0.05) + 0.5 * 0.05**2 / 0.1) / 2)


def test_what_is_not_known_counts_for_nothing_and_has_no_gradient() -> None:
    maps, traits = torch.zeros(1, 2, 1, 1), torch.zeros(1, 3)
    batch = {"maps": torch.tensor([[[[1.0]], [[NAN]]]]), "traits": torch.tensor([[1.0, NAN, NAN]])}
    network, found = losses(maps, traits, batch)
    assert found["e_maps"].item() == pytest.approx(math.log(2)) and found["e_traits"].item() == pytest.approx(0.95)
    sum(found.values()).backward()
    assert network.maps.grad.flatten().tolist() == [-0.5, 0.0]
    assert network.traits.grad.tolist() == [[-1.0, 0.0, 0.0]]


def test_nothing_known_at_all_is_no_loss() -> None:
    batch = {"maps": torch.full((1, 1, 1, 1), NAN), "traits": torch.full((1, 1), NAN)}
    network, found = losses(torch.ones(1, 1, 1, 1), torch.ones(1, 1), batch)
    assert [loss.item() for loss in found.values()] == [0.0, 0.0]
    sum(found.values()).backward()
    assert network.maps.grad.isfinite().all() and network.traits.grad.isfinite().all()


def test_terms_follow_their_weights() -> None:
    maps, traits = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    batch = {"maps": torch.rand(2, 3, 4, 4), "traits": torch.rand(2, 5)}
    _, plain = losses(maps, traits, batch)
    _, weighed = losses(maps, traits, batch, map_weight=3.0, trait_weight=0.0)
    assert weighed["e_maps"].item() == pytest.approx(3 * plain["e_maps"].item()) and weighed["e_traits"].item() == 0


def test_features_of_photographs_that_were_left_as_they_are_are_observed() -> None:
    seen: list[Tensor] = []
    network = Told(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1))
    objective = EncoderTasks(network, observe=seen.append)
    image = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    outputs = objective.forward({"image": image, "plain": torch.tensor([True, False, True])})
    assert [values.tolist() for values in seen] == [[[0.0] * 3, [2.0] * 3]]
    assert set(outputs) == {"pred_features", "pred_maps", "pred_traits"}


def test_one_step_updates_all() -> None:
    objective = EncoderTasks(Told(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1)))
    assert [(step.name, step.updates) for step in objective.steps] == [("encoder", ("encoder",))]
    assert set(objective.networks) == {"encoder"}

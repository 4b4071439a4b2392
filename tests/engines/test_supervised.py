"""MONAI's supervised trainer as the handlers of this library know it, and mixed precision on any device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.inferers import SimpleInferer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from retina_monai.engines import Autocast, SupervisedTrainer
from retina_monai.objectives import WeightedError


class Linear(nn.Linear):
    """Remembers the type of what it made."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        self.made = made.dtype
        return made


def trained(**arguments: Any) -> tuple[SupervisedTrainer, list[Any]]:
    torch.manual_seed(0)
    network = Linear(2, 1)
    random = torch.Generator().manual_seed(0)
    data = [{"image": torch.randn(2, generator=random), "label": torch.ones(1)} for _ in range(4)]
    trainer = SupervisedTrainer(
        saved=network,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=nn.MSELoss(),
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(data, batch_size=2),
        **arguments,
    )
    seen: list[Any] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append((engine.state.output, engine.state.losses))
    )
    trainer.run()
    return trainer, seen


def test_output_is_a_list_of_one_dictionary_with_a_loss_that_holds_no_graph() -> None:
    _, seen = trained()
    assert len(seen) == 2
    for output, losses in seen:
        assert len(output) == 1 and set(output[0]) == {"image", "label", "pred", "loss"}
        assert set(losses) == {"loss"} and not losses["loss"].requires_grad
        torch.testing.assert_close(losses["loss"], (output[0]["pred"] - 1).square().mean())


def test_weights_move_as_by_hand() -> None:
    trainer, seen = trained()
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    for output, _ in seen:
        network.zero_grad()
        (network(output[0]["image"]) - 1).square().mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(trainer.saved.weight, network.weight)


def test_gradients_are_scaled_down_to_the_norm() -> None:
    moved = {}
    for norm in (None, 0.01):
        torch.manual_seed(0)
        before = nn.Linear(2, 1).weight.clone()
        moved[norm] = (trained(max_gradient_norm=norm)[0].saved.weight - before).norm().item()
    assert moved[0.01] <= 2 * 0.1 * 0.01 + 1e-6 < moved[None]


def test_a_checkpoint_holds_network_and_optimizer() -> None:
    trainer, _ = trained()
    assert trainer.parts() == {"networks.generator": trainer.saved, "optimizers.generator": trainer.optimizer}


@pytest.mark.parametrize(("precision", "made"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_reaches_the_network_on_the_cpu(precision: str, made: torch.dtype) -> None:
    inferer = Autocast(SimpleInferer(), precision, torch.device("cpu"))
    assert trained(inferer=inferer)[0].saved.made == made


def test_precision_that_an_inferer_cannot_give_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be fp32 or bf16 for this training, got 'fp16'"):
        Autocast(SimpleInferer(), "fp16", torch.device("cpu"))


def test_weighted_error_by_hand() -> None:
    pred = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    target = torch.tensor([[[[0.0, 0.0]], [[1.0, 1.0]], [[1.0, 0.5]]]])
    assert WeightedError()(pred, target).item() == pytest.approx((1 + 0.5 * 4 + 4 + 0.5 * 9) / 4)

"""Validation: what the batch holds and what the generator makes of it, eye by eye."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.handlers import from_engine
from monai.inferers import Inferer
from monai.transforms import CopyItemsd
from torch import Tensor, nn

from retina_monai.engines import GenerationEvaluator


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Tanh())


def eyes(key: str = "vessel") -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(0)
    return [
        {key: torch.rand(1, 8, 8, generator=random), "image": torch.full((3, 8, 8), float(i)), "name": f"eye{i}"}
        for i in range(3)
    ]


def evaluate(net: nn.Module, key: str = "vessel", **arguments: Any) -> tuple[GenerationEvaluator, list[dict[str, Any]]]:
    data = torch.utils.data.DataLoader(eyes(key), batch_size=2)
    evaluator = GenerationEvaluator(network=net, device="cpu", val_data_loader=data, **arguments)
    seen: list[dict[str, Any]] = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.extend(engine.state.output))
    evaluator.run()
    return evaluator, seen


def test_every_eye_keeps_its_entries_and_gets_its_prediction() -> None:
    net = network()
    _, seen = evaluate(net)
    assert [item["name"] for item in seen] == ["eye0", "eye1", "eye2"]
    net.eval()
    for item, eye in zip(seen, eyes(), strict=True):
        assert torch.equal(torch.as_tensor(item["image"]), eye["image"])
        torch.testing.assert_close(torch.as_tensor(item["pred"]), net(eye["vessel"][None])[0].detach())


def test_it_evaluates_without_gradients_and_gives_the_network_back_as_it_was() -> None:
    net = network()
    modes = []
    net.register_forward_hook(lambda module, _, output: modes.append((module.training, output.requires_grad)))
    for training in (True, False):
        net.train(training)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        evaluate(net)
        assert net.training is training and torch.is_grad_enabled()
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert modes == [(False, False)] * 4


def test_a_network_that_fails_is_given_back_too() -> None:
    class Failing(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            raise ArithmeticError

    net = Failing().train()
    try:
        evaluate(net)
    except ArithmeticError:
        assert net.training
    else:
        raise AssertionError("the error was swallowed")


def test_condition_and_inferer_are_those_asked_for() -> None:
    class Negative(Inferer):
        def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
            return -network(inputs)

    net = nn.Identity()
    _, seen = evaluate(net, key="label", condition_key="label", inferer=Negative())
    assert all(torch.equal(torch.as_tensor(item["pred"]), -torch.as_tensor(item["label"])) for item in seen)


def test_a_condition_may_be_made_of_the_batch() -> None:
    _, seen = evaluate(nn.Identity(), condition=lambda batch: batch["image"] - batch["vessel"])
    assert len(seen) == 3
    for item in seen:
        torch.testing.assert_close(item["pred"], item["image"] - item["vessel"])


def test_postprocessing_and_metrics_see_whole_eyes() -> None:
    values = Average(output_transform=lambda output: torch.stack([item["image"].mean() for item in output]).sum())
    evaluator, seen = evaluate(
        network(), postprocessing=CopyItemsd("image", names="photograph"), key_val_metric={"brightness": values}
    )
    assert all("photograph" in item for item in seen)
    assert evaluator.state.metrics["brightness"] == (0 + 1 + 2) / 2  # of two batches
    assert evaluator.state.best_metric_epoch == 1
    assert len(from_engine("pred")(evaluator.state.output)) == 1

"""The one loop: who moves, by which gradients, in which precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.handlers import from_engine
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retina_monai.engines import AdversarialTrainer
from retina_monai.networks import Pix2PixUNet
from retina_monai.objectives import Pix2Pix, Step

SIZE = 16


def generator(**arguments: Any) -> Pix2PixUNet:
    return Pix2PixUNet(**{"levels": 3, "features": 4, **arguments})


class PlainDiscriminator(nn.Module):
    """Without batch norm: batches are then the mean of their samples."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(4, 4, 4, 2, 1), nn.LeakyReLU(0.2))
        self.head = nn.Conv2d(4, 1, 4, 1, 1)

    def forward(self, pair: Tensor) -> list[Tensor]:
        features = self.features(pair)
        return [features, self.head(features)]


def pix2pix(**arguments: Any) -> Pix2Pix:
    torch.manual_seed(3)
    return Pix2Pix(generator(**arguments), PlainDiscriminator())


def samples(count: int = 4) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.rand(3, SIZE, SIZE, generator=random) * 2 - 1,
            "vessel": torch.rand(1, SIZE, SIZE, generator=random) * 2 - 1,
            "fov": (torch.rand(1, SIZE, SIZE, generator=random) > 0.2).float(),
            "patient": f"p{index}",
        }
        for index in range(count)
    ]


def loader(batch_size: int = 2, count: int = 4) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(samples(count), batch_size=batch_size)


def optimizers(objective: Any, kind: Callable = torch.optim.SGD, rate: float = 0.01) -> dict[str, Any]:
    return {
        step.name: kind([p for name in step.updates for p in objective.networks[name].parameters()], rate)
        for step in objective.steps
    }


def train(objective: Any, epochs: int = 1, **arguments: Any) -> AdversarialTrainer:
    trainer = AdversarialTrainer(
        objective,
        arguments.pop("optimizers", None) or optimizers(objective),
        device=arguments.pop("device", "cpu"),
        max_epochs=epochs,
        data_loader=arguments.pop("data_loader", None) or loader(),
        **arguments,
    )
    torch.manual_seed(5)
    trainer.run()
    return trainer


def parameters(objective: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in objective.networks.state_dict().items()}


def updates(before: dict[str, Tensor], after: dict[str, Tensor], network: str) -> Tensor:
    return torch.cat([(after[n] - before[n]).flatten() for n in before if n.startswith(f"{network}.")])


class Three:
    """Three networks in a chain, of which the steps given move some."""

    def __init__(self, *steps: tuple[str, tuple[str, ...]]) -> None:
        torch.manual_seed(0)
        self.networks = nn.ModuleDict({name: nn.Conv2d(1, 1, 3, padding=1) for name in ("first", "second", "third")})
        self.taken: list[tuple[int, str]] = []
        self.steps = tuple(Step(name, moved, self.losses(name)) for name, moved in steps)
        self.iteration = 0

    def forward(self, batch: Any) -> dict[str, Tensor]:
        self.iteration += 1
        return {"pred": batch["vessel"]}

    def losses(self, name: str) -> Callable:
        def compute(batch: Any, outputs: Any) -> dict[str, Tensor]:
            self.taken.append((self.iteration, name))
            x = outputs["pred"]
            for network in self.networks.values():
                x = network(x)
            return {f"{name}_square": x.square().mean(), f"{name}_sum": x.sum()}

        return compute


def test_a_step_moves_the_networks_that_it_names_and_no_other() -> None:
    objective = Three(("middle", ("second",)))
    before = parameters(objective)
    train(objective)
    after = parameters(objective)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"second.weight", "second.bias"}
    assert all(p.requires_grad for p in objective.networks.parameters())
    assert objective.networks["first"].weight.grad is None and objective.networks["third"].weight.grad is None


def test_what_was_frozen_stays_frozen() -> None:
    objective = pix2pix()
    frozen = objective.networks["generator"].encoder[0].weight.requires_grad_(False)
    before = parameters(objective)
    train(objective)
    after = parameters(objective)
    assert not frozen.requires_grad and frozen.grad is None
    assert torch.equal(after["generator.encoder.0.weight"], before["generator.encoder.0.weight"])
    assert not torch.equal(after["generator.encoder.0.bias"], before["generator.encoder.0.bias"])


def test_the_generators_step_leaves_no_gradient_in_the_discriminator() -> None:
    objective = pix2pix(dropout=0)
    rates = optimizers(objective, rate=0.0)
    train(objective, optimizers=rates, data_loader=loader(4))
    (batch,) = loader(4)
    ours = [p.grad.clone() for p in objective.networks["discriminator"].parameters()]
    objective.networks.zero_grad()
    sum(objective.discriminator_losses(batch, objective.forward(batch)).values()).backward()
    for gradient, parameter in zip(ours, objective.networks["discriminator"].parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_output_is_a_list_with_one_dictionary_and_the_loss_is_the_sum() -> None:
    trainer = train(pix2pix())
    (output,) = trainer.state.output
    assert output["patient"] == ["p2", "p3"] and output["pred"].shape == (2, 3, SIZE, SIZE)
    named = {name: output[name] for name in ("d_real", "d_fake", "g_l1", "g_adversarial")}
    assert trainer.state.losses == {**named, "loss": output["loss"]}
    assert output["loss"].item() == pytest.approx(sum(loss.item() for loss in named.values()), rel=1e-6)
    assert not any(value.requires_grad for value in output.values() if isinstance(value, Tensor))
    assert torch.equal(from_engine("loss")(trainer.state.output)[0], output["loss"])


def test_model_completed_is_fired_with_the_output_in_place() -> None:
    seen = []

    class Look:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.look)

        def look(self, engine: Any) -> None:
            seen.append(engine.state.output[0]["loss"].item())

    trainer = train(pix2pix(), handlers=[Look()])
    assert len(seen) == 2 and seen[-1] == trainer.state.losses["loss"].item()


def test_networks_train_whatever_mode_they_came_in() -> None:
    objective = pix2pix()
    objective.networks.eval()
    train(objective)
    assert all(module.training for module in objective.networks.modules())


@pytest.mark.parametrize("limit", [0.01, 0.001])
def test_clipping_bounds_the_update_of_each_player(limit: float) -> None:
    free, clipped = pix2pix(norm="none", dropout=0), pix2pix(norm="none", dropout=0)
    before = parameters(free)
    for objective, norm in ((free, None), (clipped, limit)):
        train(
            objective,
            data_loader=loader(4),
            optimizers=optimizers(objective, rate=1.0),
            max_gradient_norm=norm,
        )
    for network in ("generator", "discriminator"):
        unbound, bound = (updates(before, parameters(objective), network) for objective in (free, clipped))
        assert unbound.norm() > 0.02
        assert bound.norm().item() == pytest.approx(limit, rel=1e-3)
        if network == "discriminator":  # it moves first, so both saw the same gradient
            assert torch.cosine_similarity(unbound, bound, dim=0).item() == pytest.approx(1, abs=1e-4)


def test_a_limit_beyond_the_gradients_changes_nothing() -> None:
    free, clipped = pix2pix(), pix2pix()
    train(free)
    train(clipped, max_gradient_norm=1e9)
    for name, value in parameters(free).items():
        torch.testing.assert_close(parameters(clipped)[name], value, msg=name)


def test_bf16_changes_the_numbers_and_keeps_the_parameters() -> None:
    full, half = pix2pix(), pix2pix()
    dtypes = set()
    half.networks["generator"].encoder[0].register_forward_hook(lambda _, __, output: dtypes.add(output.dtype))
    first, second = train(full), train(half, precision="bf16")
    assert dtypes == {torch.bfloat16}
    assert all(
        value.dtype == torch.float32 for value in half.networks.state_dict().values() if value.is_floating_point()
    )
    ours, theirs = second.state.losses, first.state.losses
    assert ours["loss"].dtype == torch.float32
    for name in theirs:
        assert ours[name].item() != theirs[name].item()
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fp16 needs a GPU")
def test_fp16_scales_the_loss_and_trains() -> None:
    objective = pix2pix()
    before = {name: value.cpu() for name, value in parameters(objective).items()}
    trainer = train(objective, precision="fp16", device="cuda", max_gradient_norm=1.0)
    assert trainer.loss_scaler.is_enabled() and trainer.loss_scaler.state_dict()["scale"] > 0
    after = parameters(objective)
    assert any(not torch.equal(before[name], after[name].cpu()) for name in before)
    assert math.isfinite(trainer.state.losses["loss"].item())


@pytest.mark.parametrize("precision", ["fp16", "fp8", "true"])
def test_a_precision_that_the_cpu_lacks_is_refused(precision: str) -> None:
    with pytest.raises(ValueError, match=f"precision '{precision}' is not available on cpu: choose fp32, bf16"):
        train(pix2pix(), precision=precision)


def test_a_step_without_optimizer_is_refused() -> None:
    objective = pix2pix()
    some = {"generator": optimizers(objective)["generator"]}
    with pytest.raises(ValueError, match=r"no optimizer for step\(s\) discriminator$"):
        train(objective, optimizers=some)


def bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def test_it_is_the_plain_loop_bit_for_bit() -> None:
    """pix2pix as a script would have it: batch norm, dropout, Adam, MONAI's discriminator; two epochs."""

    def networks() -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(1)
        discriminator = PatchDiscriminator(spatial_dims=2, channels=4, in_channels=4, num_layers_d=1)
        return generator(), discriminator

    ours, plain = networks(), networks()
    objective = Pix2Pix(*ours)
    train(objective, 2, optimizers=optimizers(objective, torch.optim.Adam, 2e-3))

    torch.manual_seed(5)
    g, d = plain
    g_optimizer, d_optimizer = (torch.optim.Adam(net.parameters(), 2e-3) for net in plain)
    for _ in range(2):
        for batch in loader():
            vessel, image, fov = batch["vessel"], batch["image"], batch["fov"]
            fake = g(vessel) * fov + (fov - 1)
            d_optimizer.zero_grad()
            real_loss = 0.5 * bce(d(torch.cat([vessel, image], 1))[-1], 1.0)
            fake_loss = 0.5 * bce(d(torch.cat([vessel, fake.detach()], 1))[-1], 0.0)
            (real_loss + fake_loss).backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            error = ((fake - image).abs() * fov).sum((1, 2, 3)) / (3 * fov.sum((1, 2, 3)))
            (100 * error.mean() + bce(d(torch.cat([vessel, fake], 1))[-1], 1.0)).backward()
            g_optimizer.step()

    for network, reference in zip(ours, plain, strict=True):
        for (name, value), expected in zip(network.state_dict().items(), reference.state_dict().values(), strict=True):
            assert torch.equal(value, expected), name


# Other families, with the control flow of their papers and toy networks.


class Flat(nn.Module):
    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(channels * SIZE * SIZE, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, SIZE * SIZE)

    def forward(self, code: Tensor) -> Tensor:
        return torch.tanh(self.layer(code)).view(-1, 1, SIZE, SIZE)


class Inpainting:
    """LaMa: a masked picture, feature matching, and R1, which differentiates twice."""

    def __init__(self) -> None:
        judge = PatchDiscriminator(spatial_dims=2, channels=4, in_channels=3, num_layers_d=1)
        self.networks = nn.ModuleDict({"generator": nn.Conv2d(4, 3, 3, padding=1), "discriminator": judge})
        self.steps = (
            Step("r1", ("discriminator",), self.r1_losses),
            Step("discriminator", ("discriminator",), self.discriminator_losses),
            Step("generator", ("generator",), self.generator_losses),
        )

    def forward(self, batch: Any) -> dict[str, Tensor]:
        known = batch["fov"]
        return {"pred": self.networks["generator"](torch.cat([batch["image"] * known, known], 1))}

    def r1_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        real = batch["image"].detach().requires_grad_()
        with torch.autocast(real.device.type, enabled=False):
            logits = self.networks["discriminator"](real)[-1]
        (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return {"d_r1": 0.1 * gradient.square().sum((1, 2, 3)).mean()}

    def discriminator_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        judge = self.networks["discriminator"]
        return {"d_real": bce(judge(batch["image"])[-1], 1), "d_fake": bce(judge(outputs["pred"].detach())[-1], 0)}

    def generator_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        fake, real = (self.networks["discriminator"](image) for image in (outputs["pred"], batch["image"]))
        matching = [(f - r.detach()).abs().mean() for f, r in zip(fake[:-1], real[:-1], strict=True)]
        return {"g_adversarial": bce(fake[-1], 1), "g_matching": 10 * torch.stack(matching).sum()}


class DualAutoencoder:
    """Adversaries on code and picture; encoder and decoder move in one step, both adversaries in another."""

    def __init__(self) -> None:
        self.networks = nn.ModuleDict(
            {"encoder": Flat(1, 4), "decoder": Decoder(), "code_judge": nn.Linear(4, 1), "image_judge": Flat(1, 1)}
        )
        self.steps = (
            Step("judges", ("code_judge", "image_judge"), self.judge_losses),
            Step("autoencoder", ("encoder", "decoder"), self.autoencoder_losses),
        )

    def forward(self, batch: Any) -> dict[str, Tensor]:
        code = self.networks["encoder"](batch["vessel"])
        return {"code": code, "pred": self.networks["decoder"](code)}

    def judge_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        code, image = self.networks["code_judge"], self.networks["image_judge"]
        prior = torch.randn(len(outputs["code"]), 4)
        return {
            "d_code": bce(code(prior), 1) + bce(code(outputs["code"].detach()), 0),
            "d_image": bce(image(batch["vessel"]), 1) + bce(image(outputs["pred"].detach()), 0),
        }

    def autoencoder_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        return {
            "g_code": bce(self.networks["code_judge"](outputs["code"]), 1),
            "g_image": bce(self.networks["image_judge"](outputs["pred"]), 1),
            "g_reconstruction": 10 * (outputs["pred"] - batch["vessel"]).abs().mean(),
        }


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.decoder = nn.LSTM(4, 4, batch_first=True), Decoder()

    def forward(self, noise: Tensor) -> Tensor:
        hidden, _ = self.recurrent(noise)
        return self.decoder(hidden.flatten(0, 1)).unflatten(0, noise.shape[:2])


class RecurrentGan:
    """Visits over time, of which some are missing and count nowhere."""

    def __init__(self) -> None:
        self.networks = nn.ModuleDict({"generator": Sequence(), "discriminator": Flat(1, 1)})
        self.steps = (
            Step("discriminator", ("discriminator",), self.discriminator_losses),
            Step("generator", ("generator",), self.generator_losses),
        )
        self.seen = torch.tensor([[True, False, True], [True, True, False]])

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return {"pred": self.networks["generator"](torch.randn(2, 3, 4))}

    def discriminator_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        judge, fake = self.networks["discriminator"], outputs["pred"].detach()[self.seen]
        return {"d_real": bce(judge(batch["image"].flatten(0, 1)[:4, None]), 1), "d_fake": bce(judge(fake), 0)}

    def generator_losses(self, batch: Any, outputs: Any) -> dict[str, Tensor]:
        return {"g_adversarial": bce(self.networks["discriminator"](outputs["pred"][self.seen]), 1)}


@pytest.fixture(params=["fp32", "bf16"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.mark.parametrize("family", [pix2pix, Inpainting, DualAutoencoder, RecurrentGan])
def test_every_family_trains_all_of_its_networks(family: Callable, precision: str) -> None:
    torch.manual_seed(0)
    objective = family()
    before = parameters(objective)
    named: set[str] = set()
    trainer = AdversarialTrainer(
        objective,
        optimizers(objective, torch.optim.Adam, 1e-3),
        precision,
        device="cpu",
        max_epochs=2,
        data_loader=loader(),
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: named.update(engine.state.losses))
    trainer.run()
    after = parameters(objective)
    assert all(float(updates(before, after, name).abs().max()) > 0 for name in objective.networks)
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert all(bool(loss.isfinite()) for loss in trainer.state.losses.values())
    expected = {"Inpainting": {"d_r1", "g_matching"}, "DualAutoencoder": {"d_code", "g_reconstruction"}}
    assert expected.get(family.__name__, {"d_real", "g_adversarial"}) <= named

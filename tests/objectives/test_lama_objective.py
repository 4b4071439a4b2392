"""Every loss of LaMa against a value computed by hand, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from retina_monai.engines import AdversarialTrainer
from retina_monai.metrics import radial_power_spectrum
from retina_monai.networks import DilatedEncoder, LamaGenerator, PyramidDiscriminator
from retina_monai.objectives import Lama
from retina_monai.transforms import outpainting_condition

SIZE = 16
WEIGHT = (1.0, -2.0, 0.5)


class Painter(nn.Module):
    """Half of what is known, and a grey of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.tensor(0.1))
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return image[:, :3] / 2 + self.grey


class Judge(nn.Module):
    """A patch's logit: the weighted mean colour of 4 x 4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(WEIGHT))

    def forward(self, image: Tensor) -> list[Tensor]:
        weighted = avg_pool2d(image, 4) * self.weight.view(1, 3, 1, 1)
        return [weighted, weighted.sum(1, keepdim=True)]


class Eye(nn.Module):
    """Two layers of features, then a vessel's logit and the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, image: Tensor) -> list[Tensor]:
        logit = self.scale * image[:, :1]
        return [image + 2, 10 * avg_pool2d(image, 2), torch.cat([logit, 0.5 * image], 1)]


def batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    fov = torch.zeros(2, 1, SIZE, SIZE)
    fov[0, :, :, :8] = 1
    fov[1, :, 2:-2, 2:-2] = 1
    vessel = torch.rand(2, 1, SIZE, SIZE, generator=random) * 2 - 1
    image = (torch.rand(2, 3, SIZE, SIZE, generator=random) * 2 - 1) * fov + fov - 1
    mask = (fov > 0) & (vessel < 0)
    condition = torch.stack([outpainting_condition(*pair) for pair in zip(image, mask, strict=True)])
    return {"image": image, "vessel": vessel, "fov": fov, "condition": condition}


def objective(**arguments: Any) -> Lama:
    return Lama(Painter(), Judge(), Eye(), **arguments)


def arrays(data: dict[str, Tensor]) -> tuple[np.ndarray, ...]:
    image, fov, vessel = (data[key].double().numpy() for key in ("image", "fov", "vessel"))
    mask = (fov > 0) & (vessel < 0)
    return image, fov, mask.astype(float)


def softplus(value: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(value))


def verdicts(image: np.ndarray) -> np.ndarray:
    patches = image.reshape(2, 3, SIZE // 4, 4, SIZE // 4, 4).mean((3, 5))
    return np.einsum("bcij,c->bij", patches, WEIGHT)


def mean_of(values: np.ndarray, mask: np.ndarray) -> float:
    """Mean over pictures of each one's mean over a mask."""
    return float(np.mean([picture[:, inside[0] > 0].mean() for picture, inside in zip(values, mask, strict=True)]))


def numpy_pred(data: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Painted all over, and with what is known as it is."""
    image, _, mask = arrays(data)
    known = np.where(mask > 0, -1, image)
    painted = known / 2 + 0.1
    return painted, np.where(mask > 0, painted, known)


def test_known_pixels_are_the_photographs_and_the_rest_is_painted() -> None:
    data = batch()
    outputs = objective().forward(data)
    painted, pred = numpy_pred(data)
    np.testing.assert_allclose(outputs["painted"].detach(), painted, atol=1e-6)
    np.testing.assert_allclose(outputs["pred"].detach(), pred, atol=1e-6)
    np.testing.assert_array_equal(outputs["mask"], arrays(data)[2])


def test_losses_of_the_generator() -> None:
    data, lama = batch(), objective(unknown_weight=2.0, color_weight=4.0)
    losses = {key: value.item() for key, value in lama.generator_losses(data, lama.forward(data)).items()}
    image, fov, mask = arrays(data)
    painted, pred = numpy_pred(data)
    known = np.where(mask > 0, -1, image)
    assert losses["g_known"] == pytest.approx(10 * mean_of(np.abs(painted - known), mask == 0))
    assert losses["g_unknown"] == pytest.approx(2 * mean_of(np.abs(painted - image), mask))
    assert losses["g_adversarial"] == pytest.approx(10 * softplus(-verdicts(pred)).mean())
    weights = np.array(WEIGHT)[:, None, None]
    patches = (pred - image).reshape(2, 3, SIZE // 4, 4, SIZE // 4, 4).mean((3, 5)) * weights
    assert losses["g_features"] == pytest.approx(100 * (patches**2).mean())
    halves = [picture.reshape(2, 3, 8, 2, 8, 2).mean((3, 5)) for picture in (pred, image)]
    layers = [
        [((ours - theirs) ** 2).mean() / theirs.var((1, 2)).mean() for ours, theirs in zip(*pair, strict=True)]
        for pair in ((pred, image), halves)
    ]
    assert losses["g_perceptual"] == pytest.approx(30 * np.mean(layers))
    inside = [[p[b, c][fov[b, 0] > 0] for b in range(2) for c in range(3)] for p in (pred, image)]
    means = np.mean([abs(ours.mean() - theirs.mean()) for ours, theirs in zip(*inside, strict=True)])
    spreads = np.mean([abs(ours.std() - theirs.std()) for ours, theirs in zip(*inside, strict=True)])
    assert losses["g_color"] == pytest.approx(4 * (means + spreads), rel=1e-5)


def test_vessels_are_asked_for_as_far_as_the_photograph_shows_them() -> None:
    data, lama = batch(), objective(faithfulness_weight=7.0)
    losses = lama.generator_losses(data, lama.forward(data))
    image, fov, _ = arrays(data)
    _, pred = numpy_pred(data)
    seen = 1 / (1 + np.exp(-3 * image[:, :1]))
    visible = np.minimum(seen, (data["vessel"].double().numpy() + 1) / 2)
    entropy = visible * softplus(-3 * pred[:, :1]) + (1 - visible) * softplus(3 * pred[:, :1])
    assert losses["g_faithfulness"].item() == pytest.approx(7 * mean_of(entropy, fov))


def test_further_masks_reach_generator_discriminator_and_first_stage() -> None:
    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, image: Tensor) -> Any:
            self.seen.append(image)
            return [image] if image.shape[1] == 4 else image[:, :1].expand(-1, 3, -1, -1)

    data, discriminator, first_stage = batch(), Seeing(), Seeing()
    disc = -torch.ones(2, 1, SIZE, SIZE)
    disc[:, :, :4, :4] = 1
    data["condition"] = torch.cat([data["condition"], disc], dim=1)
    data["masks"] = torch.cat([data["vessel"], disc], dim=1)
    painter = Painter()
    lama = Lama(painter, discriminator, Eye(), first_stage=first_stage, masks_key="masks")
    lama.generated_share = 1.0
    outputs = lama.forward(data)
    lama.discriminator_losses(data, outputs)
    assert torch.equal(first_stage.seen[0], data["masks"])
    assert torch.equal(painter.seen[0][:, 4:], disc) and torch.equal(lama.condition(data)[:, 4:], disc)
    real, fake = discriminator.seen[:2]
    assert torch.equal(real, torch.cat([data["image"], disc], dim=1))
    assert torch.equal(fake, torch.cat([outputs["pred"], disc], dim=1))
    known = (data["fov"] > 0) & (data["vessel"] >= 0)
    assert torch.equal(
        outputs["pred"][known.expand(-1, 3, -1, -1)], data["vessel"].expand(-1, 3, -1, -1)[known.expand(-1, 3, -1, -1)]
    )


def test_a_mask_that_is_lower_near_vessels_hides_as_much() -> None:
    data, lama = batch(), objective()
    lower = data["condition"].clone()
    lower[:, 3:] = torch.where(lower[:, 3:] > 0, 0.3, -1.0)
    outputs, told = lama.forward(data), lama.forward(data | {"condition": lower})
    assert torch.equal(told["mask"], outputs["mask"]) and torch.equal(told["pred"], outputs["pred"])
    assert torch.equal(lama.networks["generator"].seen[-1], lower)


def test_the_spectrum_is_that_of_known_and_painted_together() -> None:
    def rings(image: Tensor, fov: Tensor) -> Tensor:
        return torch.stack([(image * fov).square().mean((1, 2, 3)), image.abs().mean((1, 2, 3))], dim=1)

    data, lama = batch(), objective(spectrum=rings, spectrum_weight=2.0)
    outputs = lama.forward(data)
    logs = [(rings(picture, data["fov"]) + 1e-6).log() for picture in (outputs["pred"], data["image"])]
    loss = lama.generator_losses(data, outputs)["g_spectrum"]
    torch.testing.assert_close(loss, 2 * (logs[0] - logs[1]).abs().mean())
    assert "g_spectrum" not in objective(spectrum=rings).generator_losses(data, outputs)
    with pytest.raises(ValueError, match="spectrum_weight needs a spectrum function"):
        objective(spectrum_weight=2.0)


def test_only_patches_that_show_something_painted_are_fake() -> None:
    data = batch()
    losses = objective(gradient_penalty=0).discriminator_losses(data, objective().forward(data))
    assert losses.keys() == {"d_real", "d_fake"}
    image, _, mask = arrays(data)
    _, pred = numpy_pred(data)
    fake = mask.reshape(2, SIZE // 4, 4, SIZE // 4, 4).max((2, 4))
    assert 0 < fake.mean() < 1
    logits = verdicts(pred)
    expected = np.where(fake > 0, softplus(logits), softplus(-logits)).mean()
    assert losses["d_fake"].item() == pytest.approx(expected)
    assert losses["d_real"].item() == pytest.approx(softplus(-verdicts(image)).mean())


def test_the_penalty_is_the_squared_gradient() -> None:
    """Of a linear judge it is known: each pixel has a sixteenth of its channel's weight."""
    data, lama = batch(), objective(gradient_penalty=0.5)
    loss = lama.discriminator_losses(data, lama.forward(data))["d_penalty"]
    assert loss.item() == pytest.approx(0.5 * SIZE**2 * sum(weight**2 for weight in WEIGHT) / 16**2)
    loss.backward()
    gradient = lama.networks["discriminator"].weight.grad
    assert gradient.tolist() == pytest.approx([SIZE**2 * weight / 16**2 for weight in WEIGHT])


def test_a_lazy_penalty_is_rare_and_as_strong_on_average() -> None:
    data, lama = batch(), objective(gradient_penalty=0.5, penalty_share=0.25)
    outputs, always = lama.forward(data), objective(gradient_penalty=0.5)
    expected = always.discriminator_losses(data, outputs)["d_penalty"].item()
    torch.manual_seed(0)
    found = [lama.discriminator_losses(data, outputs).get("d_penalty") for _ in range(200)]
    taken = [penalty.item() for penalty in found if penalty is not None]
    assert taken == pytest.approx([4 * expected] * len(taken)) and 35 <= len(taken) <= 65


def test_the_penalty_is_in_float32_under_autocast() -> None:
    types: list[torch.dtype] = []
    judge = PyramidDiscriminator(1, spatial_dims=2, channels=4, in_channels=3, num_layers_d=1)
    data, lama = batch(), Lama(Painter(), judge, Eye())
    outputs = lama.forward(data)
    convolution = next(module for module in judge.modules() if isinstance(module, nn.Conv2d))
    convolution.register_forward_hook(lambda _, inputs, output: types.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = lama.discriminator_losses(data, outputs)["d_penalty"]
    assert types == [torch.bfloat16, torch.bfloat16, torch.float32] and loss.dtype == torch.float32


def test_the_perceptual_network_finds_vessels_and_draws_the_picture() -> None:
    data = batch()
    losses = objective().perceptual_losses(data, {})
    image, fov, _ = arrays(data)
    probability = 1 / (1 + np.exp(-3 * image[:, :1]))
    share = (data["vessel"].double().numpy() + 1) / 2
    entropy = -(share * np.log(probability) + (1 - share) * np.log(1 - probability))
    assert losses["p_vessel"].item() == pytest.approx(mean_of(entropy, fov))
    assert losses["p_image"].item() == pytest.approx(mean_of(np.abs(0.5 * image), fov))


def test_as_published_both_networks_see_what_is_painted_over_the_known() -> None:
    data = batch()
    lama = objective(composite=False)
    losses = lama.generator_losses(data, lama.forward(data))
    painted, _ = numpy_pred(data)
    assert losses["g_adversarial"].item() == pytest.approx(10 * softplus(-verdicts(painted)).mean())


class Blue(nn.Module):
    """A first stage that knows one colour."""

    def forward(self, vessel: Tensor) -> Tensor:
        return torch.stack([-torch.ones_like(vessel), -torch.ones_like(vessel), torch.ones_like(vessel)], 2).squeeze(1)


def test_the_first_stage_colours_vessels_by_chance() -> None:
    data, lama = batch(), objective(first_stage=Blue())
    known = lama.forward(data)["known"]
    assert torch.equal(known, data["condition"][:, :3]), "a share of 0 at first"
    lama.generated_share = 1.0
    known = lama.forward(data)["known"]
    vessel = ((data["fov"] > 0) & (data["vessel"] >= 0)).expand_as(known)
    assert torch.equal(known[~vessel], data["condition"][:, :3][~vessel])
    assert (known[:, :2][vessel[:, :2]] == -1).all() and (known[:, 2:][vessel[:, 2:]] == 1).all()
    lama.generated_share = 0.25
    torch.manual_seed(0)
    drawn = [bool((lama.forward(data)["known"][0] == known[0]).all()) for _ in range(200)]
    assert 0.15 < np.mean(drawn) < 0.35


def test_validation_is_given_what_the_first_stage_makes_whatever_the_share() -> None:
    data, staged, alone = batch(), objective(first_stage=Blue()), objective()
    condition = staged.condition(data)
    staged.generated_share = 1.0
    assert torch.equal(condition[:, :3], staged.forward(data)["known"])
    assert torch.equal(condition[:, 3:], data["condition"][:, 3:])
    assert torch.equal(alone.condition(data), data["condition"])


def test_the_loss_of_two_pictures_is_the_mean_of_their_losses() -> None:
    """So that two processes with a picture each train as one with both."""
    data = batch()
    lama = objective(unknown_weight=1.0, color_weight=1.0, spectrum=radial_power_spectrum, spectrum_weight=1.0)

    def losses(part: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = lama.forward(part)
        steps = (lama.perceptual_losses, lama.discriminator_losses, lama.generator_losses)
        return {name: loss for step in steps for name, loss in step(part, outputs).items()}

    both = losses(data)
    single = [losses({key: value[place : place + 1] for key, value in data.items()}) for place in range(2)]
    assert len(both) == 12
    for name, loss in both.items():
        torch.testing.assert_close(loss, (single[0][name] + single[1][name]) / 2)


def test_what_is_not_weighed_is_not_computed() -> None:
    lama = Lama(Painter(), Judge(), adversarial_weight=0, perceptual_weight=0, gradient_penalty=0)
    assert [step.name for step in lama.steps] == ["generator"]
    data = batch()
    assert lama.generator_losses(data, lama.forward(data)).keys() == {"g_known"}
    assert [step.name for step in objective(perceptual_learns=False).steps] == ["discriminator", "generator"]
    with pytest.raises(ValueError, match="perceptual_weight needs a perceptual network"):
        Lama(Painter(), Judge())


def test_the_trainer_takes_its_steps_and_one_eye_is_learned() -> None:
    """The networks as they are, small: the painted part comes near the picture, the penalty comes now and then."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    image = torch.stack([rows, columns, rows * columns])[None] * 0.8
    vessel = torch.where(columns.abs() < 0.2, 1.0, -1.0)[None, None]
    condition = outpainting_condition(image[0], vessel[0] < 0)[None]
    data = {"image": image, "vessel": vessel, "fov": torch.ones(1, 1, 32, 32), "condition": condition}
    lama = Lama(
        LamaGenerator(features=8, downsamplings=2, blocks=2, norm="instance"),
        PyramidDiscriminator(1, spatial_dims=2, channels=4, in_channels=3, num_layers_d=2, norm="instance"),
        DilatedEncoder(features=4),
        penalty_share=0.25,
    )
    optimizers = {
        "perceptual": torch.optim.Adam(lama.networks["perceptual"].parameters(), 1e-3),
        "discriminator": torch.optim.Adam(lama.networks["discriminator"].parameters(), 1e-3),
        "generator": torch.optim.Adam(lama.networks["generator"].parameters(), 3e-3),
    }
    trainer = AdversarialTrainer(lama, optimizers, device="cpu", max_epochs=1, data_loader=[data] * 80)
    errors: list[float] = []
    penalties: list[int] = []

    def look(engine: Any) -> None:
        output = engine.state.output[0]
        errors.append(float((output["pred"] - image).abs().mean()))
        penalties.extend([engine.state.iteration] if "d_penalty" in output else [])

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    trainer.run()
    assert errors[-1] < errors[0] / 2
    assert 10 <= len(penalties) <= 30

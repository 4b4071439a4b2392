"""Every loss of pix2pix against a value computed by hand, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from retina_monai.engines import AdversarialTrainer
from retina_monai.metrics import radial_power_spectrum
from retina_monai.objectives import Pix2Pix
from retina_monai.transforms import MatchAppearance, measure_appearance

SIZE = 16


class Painter(nn.Module):
    """Three channels, each a multiple of the vessel map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.9, -0.4, 0.2]))

    def forward(self, image: Tensor) -> Tensor:
        return image * self.scale.view(1, 3, 1, 1)


class Judge(nn.Module):
    """Patch logits from (vessel, red, green, blue) with a weight of its own for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0]))

    def forward(self, pair: Tensor) -> list[Tensor]:
        weighted = avg_pool2d(pair, 4) * self.weight.view(1, 4, 1, 1)
        return [weighted, weighted.sum(1, keepdim=True)]


def batch(size: int = SIZE) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    fov = torch.zeros(2, 1, size, size)
    fov[0, :, :, : size // 2] = 1
    fov[1, :, 2:-2, 2:-2] = 1
    image = (torch.rand(2, 3, size, size, generator=generator) * 2 - 1) * fov + fov - 1
    return {"vessel": torch.rand(2, 1, size, size, generator=generator) * 2 - 1, "image": image, "fov": fov}


def objective(**arguments: Any) -> Pix2Pix:
    return Pix2Pix(Painter(), Judge(), **arguments)


def patch_logits(vessel: Tensor, image: Tensor) -> np.ndarray:
    pair = np.concatenate([vessel.numpy(), image.detach().numpy()], 1).astype(np.float64)
    patches = pair.reshape(2, 4, SIZE // 4, 4, SIZE // 4, 4).mean((3, 5))
    return np.einsum("bcij,c->bij", patches, [1.0, -2.0, 0.5, 3.0])


def cross_entropy(logits: np.ndarray, target: int) -> float:
    probability = 1 / (1 + np.exp(-logits))
    return float(-np.log(probability if target else 1 - probability).mean())


def test_the_generated_picture_is_black_outside_the_field_of_view() -> None:
    data = batch()
    pred = objective().forward(data)["pred"]
    inside = data["fov"].bool().expand_as(pred)
    assert bool((pred[~inside] == -1).all())
    assert torch.equal(pred[inside], Painter()(data["vessel"])[inside])


def test_regions_are_compared_by_their_averages() -> None:
    """Over half-overlapping blocks of 4 of 64 pixels, weighted by their part in the field of view."""
    data, pix2pix = batch(64), objective(block_weight=5.0)
    found = pix2pix.generator_losses(data, pix2pix.forward(data))["g_block"].item()
    pred, image, fov = (
        value.detach().double().numpy() for value in (pix2pix.forward(data)["pred"], *map(data.get, ("image", "fov")))
    )
    means = []
    for difference, inside in zip(pred - image, fov, strict=True):
        total = weight = 0.0
        for row in range(0, 61, 2):
            for column in range(0, 61, 2):
                block = np.s_[:, row : row + 4, column : column + 4]
                if area := inside[block].sum():
                    total += np.abs(difference[block].sum((1, 2)) / area).mean() * area
                    weight += area
        means.append(total / weight)
    assert found == pytest.approx(5 * np.mean(means), rel=1e-5)
    data["image"] = pix2pix.forward(data)["pred"].detach() + data["fov"] * (torch.rand(2, 3, 64, 64) - 0.5)
    assert pix2pix.generator_losses(data, pix2pix.forward(data))["g_block"].item() < 0.5, "texture hardly counts"


def test_discriminator_losses_are_half_cross_entropies_of_pairs() -> None:
    data, pix2pix = batch(), objective()
    outputs = pix2pix.forward(data)
    losses = pix2pix.discriminator_losses(data, outputs)
    assert losses.keys() == {"d_real", "d_fake"}
    real, fake = patch_logits(data["vessel"], data["image"]), patch_logits(data["vessel"], outputs["pred"])
    assert losses["d_real"].item() == pytest.approx(0.5 * cross_entropy(real, 1), rel=1e-5)
    assert losses["d_fake"].item() == pytest.approx(0.5 * cross_entropy(fake, 0), rel=1e-5)


def test_the_discriminators_losses_do_not_reach_the_generator() -> None:
    data, pix2pix = batch(), objective()
    sum(pix2pix.discriminator_losses(data, pix2pix.forward(data)).values()).backward()
    assert pix2pix.networks["generator"].scale.grad is None
    assert pix2pix.networks["discriminator"].weight.grad.abs().min() > 0


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_generator_is_to_pass_for_real(weight: float) -> None:
    data, pix2pix = batch(), objective(adversarial_weight=weight)
    outputs = pix2pix.forward(data)
    expected = weight * cross_entropy(patch_logits(data["vessel"], outputs["pred"]), 1)
    assert pix2pix.generator_losses(data, outputs)["g_adversarial"].item() == pytest.approx(expected, rel=1e-5)


def test_l1_is_the_mean_over_images_of_what_lies_inside() -> None:
    """Off by 0.5 in an image with a small field of view, by 0.1 in one with a large one; outside does not count."""
    data = batch()
    pred = data["image"] + torch.tensor([0.5, -0.1]).view(2, 1, 1, 1)
    pred[~data["fov"].bool().expand_as(pred)] = 77
    for weight in (100.0, 3.0):
        loss = objective(l1_weight=weight).generator_losses(data, {"pred": pred})["g_l1"]
        assert loss.item() == pytest.approx(weight * (0.5 + 0.1) / 2, rel=1e-5)


def test_l1_of_an_empty_field_of_view_is_0() -> None:
    data = {**batch(), "fov": torch.zeros(2, 1, SIZE, SIZE)}
    pix2pix = objective()
    assert pix2pix.generator_losses(data, pix2pix.forward(data))["g_l1"].item() == 0


def test_an_l1_only_training_leaves_the_discriminator_alone() -> None:
    pix2pix = objective(adversarial_weight=0)
    assert [step.name for step in pix2pix.steps] == ["generator"]
    generator, discriminator = pix2pix.networks["generator"], pix2pix.networks["discriminator"]
    asked = []
    discriminator.register_forward_hook(lambda *_: asked.append(1))
    before = generator.scale.clone()
    trainer = AdversarialTrainer(
        pix2pix,
        {"generator": torch.optim.SGD(generator.parameters(), 0.001)},
        device="cpu",
        max_epochs=1,
        data_loader=[batch()] * 3,
    )
    trainer.run()
    assert trainer.state.losses.keys() == {"g_l1", "loss"} and not asked
    assert torch.equal(discriminator.weight, Judge().weight) and not torch.equal(generator.scale, before)


def test_both_players_step_the_discriminator_first() -> None:
    assert [(step.name, step.updates) for step in objective().steps] == [
        ("discriminator", ("discriminator",)),
        ("generator", ("generator",)),
    ]


def smooth(image: Tensor) -> Tensor:
    return avg_pool2d(image, 5, 1, 2, count_include_pad=False)


def test_the_spectrum_term_is_0_for_the_photograph_itself_and_grows_with_blur() -> None:
    data = batch(32)
    pix2pix = objective(spectrum=radial_power_spectrum, spectrum_weight=2.0)
    same, once, twice = (
        pix2pix.generator_losses(data, {"pred": pred})["g_spectrum"].item()
        for pred in (data["image"], smooth(data["image"]), smooth(smooth(data["image"])))
    )
    assert same == 0
    assert 0.5 < once < twice


def test_the_spectrum_term_is_the_mean_distance_of_the_logarithms() -> None:
    """Half the contrast is a quarter of the power at every frequency."""
    data = batch(32)
    pix2pix = objective(spectrum=radial_power_spectrum, spectrum_weight=3.0)
    pred = (0.5 * data["image"]).requires_grad_()
    loss = pix2pix.generator_losses(data, {"pred": pred})["g_spectrum"]
    assert loss.item() == pytest.approx(3 * np.log(4), rel=1e-3)
    (gradient,) = torch.autograd.grad(loss, pred)
    assert bool(gradient.isfinite().all()) and gradient.abs().max() > 0


def test_the_spectrum_sees_the_field_of_view_and_only_if_it_weighs() -> None:
    data, seen = batch(), []

    def spectrum(image: Tensor, fov: Tensor) -> Tensor:
        seen.append(fov)
        return image.abs().mean((1, 2, 3))[:, None]

    outputs = objective().forward(data)
    assert "g_spectrum" not in objective(spectrum=spectrum).generator_losses(data, outputs) and not seen
    objective(spectrum=spectrum, spectrum_weight=1.0).generator_losses(data, outputs)
    assert len(seen) == 2 and all(fov is data["fov"] for fov in seen)


def test_a_spectrum_weight_without_spectrum_is_refused() -> None:
    with pytest.raises(ValueError, match="spectrum_weight needs a spectrum"):
        objective(spectrum_weight=1.0)


def test_several_scales_count_alike() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.judge = Judge()

        def forward(self, pair: Tensor) -> list[list[Tensor]]:
            return [self.judge(pair), self.judge(-pair)]

    data = batch()
    pix2pix = Pix2Pix(Painter(), Scales())
    outputs = pix2pix.forward(data)
    logits = patch_logits(data["vessel"], outputs["pred"])
    expected = (cross_entropy(logits, 1) + cross_entropy(-logits, 1)) / 2
    assert pix2pix.generator_losses(data, outputs)["g_adversarial"].item() == pytest.approx(expected, rel=1e-5)
    fake = pix2pix.discriminator_losses(data, outputs)["d_fake"].item()
    assert fake == pytest.approx((cross_entropy(logits, 0) + cross_entropy(-logits, 0)) / 4, rel=1e-5)


def test_features_are_matched_but_not_logits() -> None:
    """The judge has one layer: patch means of the pair, times a weight for each channel."""
    data, pix2pix = batch(), objective(feature_matching_weight=7.0)
    outputs = pix2pix.forward(data)
    difference = (
        (outputs["pred"] - data["image"]).detach().numpy().reshape(2, 3, SIZE // 4, 4, SIZE // 4, 4).mean((3, 5))
    )
    distance = np.abs(difference * np.array([-2.0, 0.5, 3.0]).reshape(1, 3, 1, 1)).sum() / difference[:, :1].size / 4
    loss = pix2pix.generator_losses(data, outputs)["g_features"]
    assert loss.item() == pytest.approx(7 * distance, rel=1e-5)
    same = pix2pix.generator_losses(data, {"pred": data["image"]})["g_features"]
    assert same.item() == 0


class DarkIsVessel(nn.Module):
    """Logits: how dark green is, times a factor."""

    def __init__(self, factor: float = 4.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: Tensor) -> Tensor:
        return -self.factor * image[:, 1:2]


def entropy_inside(image: Tensor, vessel: np.ndarray, fov: Tensor) -> float:
    found = 1 / (1 + np.exp(4 * image.detach().numpy()[:, 1:2].astype(np.float64)))
    each = -(vessel * np.log(found) + (1 - vessel) * np.log(1 - found))
    return float(each[fov.numpy() == 1].mean())


def test_the_segmenter_learns_from_real_photographs_alone() -> None:
    data, pix2pix = batch(), objective(segmenter=DarkIsVessel(), faithfulness_weight=5.0)
    assert [step.name for step in pix2pix.steps] == ["segmenter", "discriminator", "generator"]
    losses = pix2pix.segmenter_losses(data, pix2pix.forward(data))
    expected = entropy_inside(data["image"], (data["vessel"].numpy() + 1) / 2, data["fov"])
    assert losses.keys() == {"s_real"} and losses["s_real"].item() == pytest.approx(expected, rel=1e-5)
    losses["s_real"].backward()
    assert pix2pix.networks["segmenter"].factor.grad is not None
    assert pix2pix.networks["generator"].scale.grad is None


def test_vessels_are_to_be_as_visible_as_in_the_photograph_and_only_where_the_map_has_them() -> None:
    data, pix2pix = batch(), objective(segmenter=DarkIsVessel(), faithfulness_weight=5.0)
    outputs = pix2pix.forward(data)
    shown = 1 / (1 + np.exp(4 * data["image"].numpy()[:, 1:2].astype(np.float64)))
    visible = np.minimum(shown, (data["vessel"].numpy() + 1) / 2)
    loss = pix2pix.generator_losses(data, outputs)["g_faithfulness"]
    assert loss.item() == pytest.approx(5 * entropy_inside(outputs["pred"], visible, data["fov"]), rel=1e-5)
    loss.backward()
    assert pix2pix.networks["generator"].scale.grad.abs()[1] > 0


def test_without_its_weight_there_is_no_segmenter_to_train() -> None:
    pix2pix = objective(segmenter=DarkIsVessel())
    assert "segmenter" not in pix2pix.networks and [step.name for step in pix2pix.steps] == [
        "discriminator",
        "generator",
    ]


def test_a_faithfulness_weight_without_segmenter_is_refused() -> None:
    with pytest.raises(ValueError, match="faithfulness_weight needs a segmenter"):
        objective(faithfulness_weight=1.0)


def test_the_generated_picture_can_be_brought_to_an_appearance_before_any_loss() -> None:
    data, mean, std = batch(), (0.2, -0.5, -0.7), (0.2, 0.1, 0.05)
    pred = objective(appearance=MatchAppearance(mean, std)).forward(data)["pred"].detach()
    for picture, fov in zip(pred, data["fov"], strict=True):
        measured = measure_appearance(picture, fov)
        assert measured.mean == pytest.approx(mean, abs=1e-5) and measured.std == pytest.approx(std, abs=1e-5)
    assert bool((pred[~data["fov"].bool().expand_as(pred)] == -1).all())


def test_entries_go_by_the_keys_given() -> None:
    data, pix2pix = batch(), objective(condition_key="label", image_key="octa", fov_key="mask")
    renamed = {"label": data["vessel"], "octa": data["image"], "mask": data["fov"]}
    outputs, expected = pix2pix.forward(renamed), objective().forward(data)
    assert torch.equal(outputs["pred"], expected["pred"])
    for ours, plain in (
        (pix2pix.generator_losses(renamed, outputs), objective().generator_losses(data, expected)),
        (pix2pix.discriminator_losses(renamed, outputs), objective().discriminator_losses(data, expected)),
    ):
        assert {name: loss.item() for name, loss in ours.items()} == {n: loss.item() for n, loss in plain.items()}

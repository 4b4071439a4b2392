"""MSE, PSNR, SSIM, MS-SSIM and cosine against scikit-image, MONAI and scikit-learn, on known cases, in an engine."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator
from monai.metrics import MultiScaleSSIMMetric, PSNRMetric, SSIMMetric
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine

from retina_monai.errors import RetinaError
from retina_monai.metrics import image_quality
from retina_monai.metrics.image_quality import (
    MS_WEIGHTS,
    ImageQuality,
    cosine_similarity,
    mae,
    ms_ssim,
    mse,
    psnr,
    ssim,
)

RANGE = 2.0
TWO = MS_WEIGHTS[:2]
FUNCTIONS = [
    mse,
    lambda *args, **kw: psnr(*args, RANGE, **kw),
    lambda *args, **kw: ssim(*args, RANGE, **kw),
    cosine_similarity,
    lambda *args, **kw: ms_ssim(*args, RANGE, weights=TWO, **kw),
]


def pair(size: tuple[int, int] = (48, 40), batch: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth pictures in [-1, 1] and noisy copies, each noisier than the one before."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand((batch, 3, 8, 8), generator=random) * 1.6 - 0.8
    target = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
    noise = torch.randn(target.shape, generator=random) * torch.linspace(0.05, 0.3, batch).view(-1, 1, 1, 1)
    return (target + noise).clamp(-1, 1), target


def half_fov(batch: int, size: tuple[int, int]) -> torch.Tensor:
    fov = torch.zeros(batch, 1, *size)
    fov[..., : size[0] // 2, 3:] = 1
    return fov


def skimage_ssim(pred: torch.Tensor, target: torch.Tensor) -> tuple[float, np.ndarray]:
    value, similarity = structural_similarity(
        pred.numpy(),
        target.numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=0,
        data_range=RANGE,
        full=True,
    )
    return value, similarity


def test_equals_scikit_image_on_the_whole_image() -> None:
    pred, target = pair()
    for index in range(len(pred)):
        one, other = pred[index].numpy(), target[index].numpy()
        assert mse(pred, target)[index].item() == pytest.approx(mean_squared_error(other, one), abs=1e-6)
        expected = peak_signal_noise_ratio(other, one, data_range=RANGE)
        assert psnr(pred, target, RANGE)[index].item() == pytest.approx(expected, abs=1e-4)
        expected, _ = skimage_ssim(pred[index], target[index])
        assert ssim(pred, target, RANGE)[index].item() == pytest.approx(expected, abs=1e-4)


def test_equals_monai_on_the_whole_image() -> None:
    pred, target = pair()
    expected = SSIMMetric(spatial_dims=2, data_range=RANGE, reduction="none")(pred, target)[:, 0]
    torch.testing.assert_close(ssim(pred, target, RANGE), expected)
    expected = PSNRMetric(max_val=RANGE, reduction="none")(pred, target)[:, 0]
    torch.testing.assert_close(psnr(pred, target, RANGE), expected)


def test_ssim_inside_the_fov_is_the_mean_of_the_map_there() -> None:
    pred, target = pair()
    fov = half_fov(3, (48, 40))
    rimless = fov.clone()
    rimless[..., :5, :] = rimless[..., -5:, :] = rimless[..., :, :5] = rimless[..., :, -5:] = 0
    for index, value in enumerate(ssim(pred, target, RANGE, fov)):
        similarity = skimage_ssim(pred[index], target[index])[1]
        assert value.item() == pytest.approx(similarity[:, rimless[index, 0] == 1].mean(), abs=1e-4)


def test_mse_inside_the_fov_is_the_mean_of_its_pixels() -> None:
    pred, target = pair()
    fov = half_fov(3, (48, 40))
    inside = fov[0, 0] == 1
    expected = ((pred - target)[:, :, inside] ** 2).mean((1, 2))
    torch.testing.assert_close(mse(pred, target, fov), expected)
    torch.testing.assert_close(psnr(pred, target, RANGE, fov), 10 * torch.log10(4 / expected))


def test_mae_is_numpys_over_all_pixels_or_those_inside() -> None:
    pred, target = pair()
    away = np.abs(pred.numpy() - target.numpy())
    np.testing.assert_allclose(mae(pred, target), away.mean((1, 2, 3)), rtol=1e-5)
    fov = half_fov(3, (48, 40))
    expected = away[:, :, fov[0, 0].numpy() == 1].mean((1, 2))
    np.testing.assert_allclose(mae(pred, target, fov), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_masks_of_any_type_count_alike(dtype: torch.dtype) -> None:
    pred, target = pair()
    fov = half_fov(3, (48, 40))
    for measure in FUNCTIONS:
        torch.testing.assert_close(measure(pred, target, fov=fov.to(dtype)), measure(pred, target, fov=fov))


def test_a_fov_of_ones_is_the_whole_image() -> None:
    pred, target = pair()
    for measure in FUNCTIONS:
        torch.testing.assert_close(measure(pred, target, fov=torch.ones(3, 1, 48, 40)), measure(pred, target))


def test_what_is_outside_of_the_fov_does_not_count() -> None:
    pred, target = pair()
    fov = half_fov(3, (48, 40))
    painted = torch.where(fov == 1, pred, torch.ones_like(pred))
    for measure in (*FUNCTIONS[:2], cosine_similarity):
        torch.testing.assert_close(measure(painted, target, fov=fov), measure(pred, target, fov=fov))
    beyond_the_windows = pred.clone()
    beyond_the_windows[:, :, 24 + 5 :] = 1
    torch.testing.assert_close(ssim(beyond_the_windows, target, RANGE, fov), ssim(pred, target, RANGE, fov))


def test_identical_images() -> None:
    image, _ = pair()
    assert mse(image, image).tolist() == [0, 0, 0]
    assert psnr(image, image, RANGE).tolist() == [math.inf] * 3
    torch.testing.assert_close(ssim(image, image, RANGE), torch.ones(3))
    torch.testing.assert_close(ms_ssim(image, image, RANGE, weights=TWO), torch.ones(3))
    torch.testing.assert_close(cosine_similarity(image, image), torch.ones(3))


def test_images_of_a_batch_do_not_mix() -> None:
    pred, target = pair()
    for measure in FUNCTIONS:
        alone = torch.cat([measure(pred[i : i + 1], target[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(measure(pred, target), alone)
        assert len(set(alone.tolist())) == 3


def skimage_ms_ssim(pred: np.ndarray, target: np.ndarray, fov: np.ndarray, weights: tuple[float, ...]) -> float:
    """With K1 so large that the luminance term is 1, scikit-image's map is that of contrast and structure."""
    product = 1.0
    for scale, weight in enumerate(weights):
        last = scale == len(weights) - 1
        _, similarity = structural_similarity(
            pred,
            target,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=0,
            data_range=RANGE,
            full=True,
            K1=0.01 if last else 1e6,
        )
        inside = np.zeros_like(fov)
        inside[5:-5, 5:-5] = fov[5:-5, 5:-5]
        product *= max(0.0, similarity[:, inside].mean()) ** weight
        pred, target = (downscale_local_mean(image, (1, 2, 2)) for image in (pred, target))
        fov = downscale_local_mean(fov.astype(float), (2, 2)) == 1
    return product


def test_ms_ssim_equals_monai_on_the_whole_image() -> None:
    pred, target = pair((192, 200))
    expected = MultiScaleSSIMMetric(spatial_dims=2, data_range=RANGE, reduction="none")(pred, target)[:, 0]
    value = ms_ssim(pred, target, RANGE)
    torch.testing.assert_close(value, expected)
    assert 0.3 < value.min() < value.max() < 0.99


@pytest.mark.parametrize("weights", [MS_WEIGHTS, (1.0,), (0.3, 0.7)])
def test_ms_ssim_equals_scikit_image_inside_the_fov(weights: tuple[float, ...]) -> None:
    pred, target = pair((176, 192), batch=2)
    fov = (torch.hypot(torch.arange(176.0)[:, None] - 80, torch.arange(192.0)[None] - 90) < 77).float()
    value = ms_ssim(pred, target, RANGE, fov.expand(2, 1, 176, 192), weights)
    for index in range(2):
        expected = skimage_ms_ssim(pred[index].numpy(), target[index].numpy(), fov.numpy() == 1, weights)
        assert value[index].item() == pytest.approx(expected, abs=2e-4)
    assert (value - ms_ssim(pred, target, RANGE, weights=weights)).abs().min() > 5e-4


def test_ms_ssim_of_one_scale_is_ssim() -> None:
    pred, target = pair()
    torch.testing.assert_close(ms_ssim(pred, target, RANGE, weights=(1.0,)), ssim(pred, target, RANGE))


def test_ms_ssim_of_inverted_structure_is_zero() -> None:
    _, target = pair()
    assert ms_ssim(-target, target, RANGE, weights=TWO).tolist() == [0, 0, 0]


def test_cosine_similarity_equals_scikit_learn() -> None:
    pred, target = pair()
    fov = half_fov(3, (48, 40))
    for index, value in enumerate(cosine_similarity(pred, target, fov).tolist()):
        inside = fov[index, 0] == 1
        rows = [1 + image[index][:, inside].flatten()[None].double().numpy() for image in (pred, target)]
        assert value == pytest.approx(sklearn_cosine(*rows).item(), abs=1e-6)


def test_cosine_similarity_is_that_of_colours_from_black() -> None:
    red, green = torch.full((2, 1, 3, 4, 4), -1.0)
    red[:, 0], green[:, 1] = 1, 1
    assert cosine_similarity(red, green).item() == 0
    assert cosine_similarity(red, (red + green) / 2).item() == pytest.approx(1 / math.sqrt(2))
    assert cosine_similarity(red, (red - 1) / 2).item() == pytest.approx(1)  # half as bright
    assert math.isnan(cosine_similarity(red, torch.full_like(red, -1)).item())
    torch.testing.assert_close(
        cosine_similarity((red + 1) / 2, (green + red + 2) / 4, black=0.0), torch.tensor([0.5**0.5])
    )


IMAGE = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mse(IMAGE, IMAGE[:, :1]), "must both be"),
        (lambda: mse(IMAGE[0], IMAGE[0]), "must both be"),
        (lambda: mse(IMAGE.log(), IMAGE), "pred must be finite"),
        (lambda: psnr(IMAGE, IMAGE * math.nan, RANGE), "target must be finite"),
        (lambda: ssim(IMAGE * math.nan, IMAGE, RANGE), "pred must be finite"),
        (lambda: mse(IMAGE, IMAGE, torch.ones(1, 3, 16, 16)), "fov must be"),
        (lambda: mse(IMAGE, IMAGE, torch.full((1, 1, 16, 16), 255)), "fov must be a mask of 0 and 1"),
        (lambda: mse(IMAGE, IMAGE, torch.zeros(1, 1, 16, 16)), "fov is empty"),
        (lambda: ssim(IMAGE, IMAGE, RANGE, torch.eye(16)[None, None] * (torch.arange(16) < 5)), "fov is empty"),
        (lambda: ssim(IMAGE[..., :10], IMAGE[..., :10], RANGE), "at least 11 x 11"),
        (lambda: ms_ssim(IMAGE, IMAGE, RANGE), r"5 scales needs images of at least 176 x 176 pixels, got \(16, 16\)"),
        (lambda: ms_ssim(IMAGE, IMAGE, RANGE, weights=TWO), "2 scales needs images of at least 22 x 22"),
        (lambda: ms_ssim(IMAGE, IMAGE, RANGE, weights=()), "a number above 0 for each scale"),
        (lambda: ms_ssim(IMAGE, IMAGE, RANGE, weights=(0.5, 0)), "a number above 0 for each scale"),
        (lambda: ms_ssim(IMAGE, IMAGE + 255, RANGE), "span 255, which exceeds data_range 2"),
        (lambda: cosine_similarity(IMAGE - 2, IMAGE), "at least black \\(-1\\)"),
        (lambda: psnr(IMAGE, IMAGE + 255, RANGE), "span 255, which exceeds data_range 2"),
        (lambda: ssim(IMAGE, IMAGE, 0), "data_range must be positive"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def items(count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    pred, target = pair((24, 24), count, seed)
    fov = half_fov(count, (24, 24)).byte()
    return [{"pred": p, "image": t, "fov": f} for p, t, f in zip(pred, target, fov, strict=True)]


@pytest.mark.parametrize("name", ["mse", "psnr", "ssim", "cosine_similarity"])
@pytest.mark.parametrize("inside_fov", [False, True])
def test_the_metric_averages_over_images_whatever_the_batches(name: str, inside_fov: bool) -> None:
    eyes = items(5)
    engine = Engine(lambda engine, batch: batch)
    ImageQuality(name, RANGE, inside_fov).attach(engine, "quality")
    batches = [eyes[:3], eyes[3:4], eyes[4:]]
    first = engine.run(batches).metrics["quality"]
    fov = torch.stack([eye["fov"] for eye in eyes]) if inside_fov else None
    pred, target = torch.stack([eye["pred"] for eye in eyes]), torch.stack([eye["image"] for eye in eyes])
    measure = FUNCTIONS[["mse", "psnr", "ssim", "cosine_similarity"].index(name)]
    assert first == pytest.approx(measure(pred, target, fov=fov).mean().item(), rel=1e-5)
    assert engine.run(batches).metrics["quality"] == first


def test_the_metric_in_a_monai_evaluator() -> None:
    config = {
        "_target_": "retina_monai.metrics.image_quality.ImageQuality",
        "metric": "ssim",
        "inside_fov": "false",
        "target_key": "label",
    }
    quality = ConfigParser({"quality": config}).get_parsed_content("quality")
    pred, target = pair((24, 24), 3)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": pred[:2], "label": target[:2]}, {"image": pred[2:], "label": target[2:]}],
        network=torch.nn.Identity(),
        key_val_metric={"val_ssim": quality},
    )
    evaluator.run()
    expected = ssim(pred, target, RANGE).mean().item()
    assert evaluator.state.metrics["val_ssim"] == pytest.approx(expected, rel=1e-6)
    assert evaluator.state.best_metric == pytest.approx(expected, rel=1e-6)


def test_the_metric_takes_a_function_and_other_keys() -> None:
    quality = ImageQuality(lambda pred, target, fov=None: (pred - target).amax((1, 2, 3)), target_key="real")
    quality.update([{"pred": torch.full((3, 4, 4), 5.0), "real": torch.ones(3, 4, 4)}])
    assert quality.compute() == 4


def test_the_metric_of_several_scales() -> None:
    pred, target = pair((176, 176), 2)
    quality = ImageQuality("ms_ssim")
    quality.update([{"pred": p, "image": t} for p, t in zip(pred, target, strict=True)])
    assert quality.compute() == pytest.approx(ms_ssim(pred, target, RANGE).mean().item(), rel=1e-6)


def test_the_metric_counts_images_for_which_it_is_undefined_and_leaves_them_out() -> None:
    eyes = items(2)
    quality = ImageQuality("cosine_similarity")
    quality.update(eyes)
    expected = quality.compute()
    quality.update([{**eyes[0], "pred": torch.full_like(eyes[0]["pred"], -1)}])
    assert (quality.compute(), quality.undefined) == (expected, 1)
    bright = ImageQuality("cosine_similarity", black=-3.0)
    bright.update(eyes)
    assert expected < bright.compute() < 1
    same = ImageQuality("psnr")
    same.update([eyes[0], {**eyes[0], "pred": eyes[0]["image"]}])
    assert same.compute() == math.inf and same.undefined == 0


def test_the_metric_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="must be one of mae, mse, psnr, ssim, ms_ssim, cosine_similarity, or"):
        ImageQuality("fid")
    with pytest.raises(RetinaError, match="inside_fov is a switch"):
        ImageQuality("mse", inside_fov="perhaps")  # a wrong type on purpose
    with pytest.raises(NotComputableError, match="has seen no image"):
        ImageQuality("mse").compute()
    with pytest.raises(KeyError, match="finds no 'fov'"):
        ImageQuality("mse", inside_fov=True).update([{"pred": IMAGE[0], "image": IMAGE[0]}])


def test_the_examples_run() -> None:
    assert doctest.testmod(image_quality).failed == 0

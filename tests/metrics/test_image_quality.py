"""MSE, PSNR and SSIM against scikit-image and MONAI, on cases whose value is known, and inside an engine."""

from __future__ import annotations

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator
from monai.metrics import PSNRMetric, SSIMMetric
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from retina_monai.errors import RetinaError
from retina_monai.metrics import image_quality
from retina_monai.metrics.image_quality import ImageQuality, mse, psnr, ssim

RANGE = 2.0
FUNCTIONS = [mse, lambda *args, **kw: psnr(*args, RANGE, **kw), lambda *args, **kw: ssim(*args, RANGE, **kw)]


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
    for measure in FUNCTIONS[:2]:
        torch.testing.assert_close(measure(painted, target, fov=fov), measure(pred, target, fov=fov))
    beyond_the_windows = pred.clone()
    beyond_the_windows[:, :, 24 + 5 :] = 1
    torch.testing.assert_close(ssim(beyond_the_windows, target, RANGE, fov), ssim(pred, target, RANGE, fov))


def test_identical_images() -> None:
    image, _ = pair()
    assert mse(image, image).tolist() == [0, 0, 0]
    assert psnr(image, image, RANGE).tolist() == [math.inf] * 3
    torch.testing.assert_close(ssim(image, image, RANGE), torch.ones(3))


def test_images_of_a_batch_do_not_mix() -> None:
    pred, target = pair()
    for measure in FUNCTIONS:
        alone = torch.cat([measure(pred[i : i + 1], target[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(measure(pred, target), alone)
        assert len(set(alone.tolist())) == 3


IMAGE = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mse(IMAGE, IMAGE[:, :1]), "must both be"),
        (lambda: mse(IMAGE[0], IMAGE[0]), "must both be"),
        (lambda: mse(IMAGE.log(), IMAGE), "pred holds values that are not finite"),
        (lambda: psnr(IMAGE, IMAGE * math.nan, RANGE), "target holds values that are not finite"),
        (lambda: ssim(IMAGE * math.nan, IMAGE, RANGE), "pred holds values that are not finite"),
        (lambda: mse(IMAGE, IMAGE, torch.ones(1, 3, 16, 16)), "fov must be"),
        (lambda: mse(IMAGE, IMAGE, torch.full((1, 1, 16, 16), 255)), "fov must hold 0 and 1"),
        (lambda: mse(IMAGE, IMAGE, torch.zeros(1, 1, 16, 16)), "fov is empty"),
        (lambda: ssim(IMAGE, IMAGE, RANGE, torch.eye(16)[None, None] * (torch.arange(16) < 5)), "fov is empty"),
        (lambda: ssim(IMAGE[..., :10], IMAGE[..., :10], RANGE), "at least 11 x 11"),
        (lambda: psnr(IMAGE, IMAGE + 255, RANGE), "span 255, more than the data_range 2"),
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


@pytest.mark.parametrize("name", ["mse", "psnr", "ssim"])
@pytest.mark.parametrize("inside_fov", [False, True])
def test_the_metric_averages_over_images_whatever_the_batches(name: str, inside_fov: bool) -> None:
    eyes = items(5)
    engine = Engine(lambda engine, batch: batch)
    ImageQuality(name, RANGE, inside_fov).attach(engine, "quality")
    batches = [eyes[:3], eyes[3:4], eyes[4:]]
    first = engine.run(batches).metrics["quality"]
    fov = torch.stack([eye["fov"] for eye in eyes]) if inside_fov else None
    pred, target = torch.stack([eye["pred"] for eye in eyes]), torch.stack([eye["image"] for eye in eyes])
    measure = FUNCTIONS[["mse", "psnr", "ssim"].index(name)]
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


def test_the_metric_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="must be one of mse, psnr, ssim"):
        ImageQuality("fid")
    with pytest.raises(RetinaError, match="inside_fov is a switch"):
        ImageQuality("mse", inside_fov="perhaps")  # type: ignore[arg-type]  # a wrong type on purpose
    with pytest.raises(NotComputableError, match="has seen no image"):
        ImageQuality("mse").compute()
    with pytest.raises(KeyError, match="finds no 'fov'"):
        ImageQuality("mse", inside_fov=True).update([{"pred": IMAGE[0], "image": IMAGE[0]}])


def _half_of_the_images(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    quality = ImageQuality("psnr", RANGE)
    quality.update(items(3)[:1] if rank == 0 else items(3)[1:])
    Path(folder, str(rank)).write_text(repr(quality.compute()))
    dist.destroy_process_group()


def test_two_processes_give_the_mean_over_all_images(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_half_of_the_images, (str(tmp_path),), nprocs=2)
    together = ImageQuality("psnr", RANGE)
    together.update(items(3))
    for rank in "01":
        assert float((tmp_path / rank).read_text()) == pytest.approx(together.compute(), rel=1e-6)


def test_the_examples_run() -> None:
    assert doctest.testmod(image_quality).failed == 0

"""LaMa's generator: published sizes, any height and width, what is unknown does not count, float32 in Fourier space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from retina_monai.networks import FourierConvolution, FourierUnit, LamaGenerator, SpectralTransform


def small(downsamplings: int = 2, blocks: int = 2, global_share: float = 0.75) -> LamaGenerator:
    torch.manual_seed(0)
    return LamaGenerator(4, 3, 8, downsamplings, blocks, global_share).eval()


def picture(height: int = 48, width: int = 48, seed: int = 0) -> Tensor:
    """Colours, and a mask whose left half is to be painted."""
    random = torch.Generator().manual_seed(seed)
    mask = -torch.ones(1, 1, height, width)
    mask[..., : width // 2] = 1
    return torch.cat([torch.rand(1, 3, height, width, generator=random) * 2 - 1, mask], dim=1)


@pytest.mark.parametrize(("blocks", "weights"), [(9, 27.05), (18, 50.98)])
def test_published_sizes(blocks: int, weights: float) -> None:
    """In millions, of the paper's networks."""
    with torch.device("meta"):
        network = LamaGenerator(blocks=blocks)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(weights, abs=0.005)


def test_layers_have_the_published_shapes() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in LamaGenerator().state_dict().items()}
    assert shapes["layers.0.local_to_local.weight"] == (64, 4, 7, 7)
    assert shapes["layers.3.local_to_local.weight"] == (128, 256, 3, 3)
    assert shapes["layers.3.local_to_global.weight"] == (384, 256, 3, 3)
    block = "layers.4.convolutions.1"
    assert shapes[f"{block}.local_to_local.weight"] == (128, 128, 3, 3)
    assert shapes[f"{block}.global_to_local.weight"] == (128, 384, 3, 3)
    assert shapes[f"{block}.global_to_global.reduce.0.weight"] == (192, 384, 1, 1)
    assert shapes[f"{block}.global_to_global.fourier.mix.0.weight"] == (384, 384, 1, 1)
    assert shapes[f"{block}.global_to_global.expand.weight"] == (384, 192, 1, 1)
    assert shapes["layers.13.weight"] == (512, 256, 3, 3)
    assert shapes["layers.22.weight"] == (3, 64, 7, 7)


def test_further_masks_guide_what_is_painted_and_only_that() -> None:
    torch.manual_seed(0)
    network = LamaGenerator(5, 3, 8, 2, 2).eval()
    image, disc = picture(), -torch.ones(1, 1, 48, 48)
    with torch.inference_mode():
        without = network(torch.cat([image, disc], dim=1))
        disc[..., 10:20, 10:20] = 1
        given = network(torch.cat([image, disc], dim=1))
    known = image[0, 3] < 0
    assert torch.equal(given[0, :, known], image[0, :3, known]) and torch.equal(
        without[0, :, known], given[0, :, known]
    )
    assert not torch.allclose(without[0, :, ~known], given[0, :, ~known], atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (50, 37), (65, 96)])
def test_sizes_that_are_no_powers_of_two(height: int, width: int) -> None:
    with torch.inference_mode():
        pred = small()(picture(height, width))
    assert pred.shape == (1, 3, height, width)
    assert pred.min() >= -1 and pred.max() <= 1


def test_what_is_unknown_does_not_count() -> None:
    one, other = picture(seed=0), picture(seed=0)
    other[:, :3, :, :24] = 0.3
    network = small()
    with torch.inference_mode():
        assert torch.equal(network(one), network(other))
        other[:, :3, 20, 30] += 0.5
        assert not torch.equal(network(one)[..., :24], network(other)[..., :24])


def test_a_corner_sees_the_other_only_by_the_global_channels() -> None:
    """One block at full resolution: its kernels reach five pixels, its Fourier units the whole picture."""

    def reach(share: float) -> float:
        network = small(downsamplings=1, blocks=1, global_share=share)
        one = picture(64, 64)
        other = one.clone()
        other[:, :3, -3:, -3:] *= -1
        with torch.inference_mode():
            return float((network(one) - network(other))[..., :16, :16].abs().max())

    assert reach(0.0) == 0.0
    assert reach(0.75) > 0


def test_a_fourier_unit_is_numpys() -> None:
    """An independent transform, and a mixture by hand in place of the 1x1 convolution."""
    unit = FourierUnit(2).eval()
    weights = torch.rand(4, 4, generator=torch.Generator().manual_seed(1)) - 0.3
    unit.mix[0].load_state_dict({"weight": weights[:, :, None, None]})
    image = torch.rand(1, 2, 6, 9, generator=torch.Generator().manual_seed(2))
    waves = np.fft.rfft2(image[0].double().numpy(), norm="ortho")
    parts = np.stack([waves[0].real, waves[0].imag, waves[1].real, waves[1].imag])
    mixed = np.maximum(np.einsum("ab,bhw->ahw", weights.double().numpy(), parts) / np.sqrt(1 + 1e-5), 0)
    expected = np.fft.irfft2(np.stack([mixed[0] + 1j * mixed[1], mixed[2] + 1j * mixed[3]]), s=(6, 9), norm="ortho")
    with torch.inference_mode():
        np.testing.assert_allclose(unit(image)[0].numpy(), expected, atol=1e-5)


def test_fourier_units_stay_in_float32_under_autocast() -> None:
    unit = FourierUnit(3).eval()
    image = torch.rand(1, 3, 16, 16)
    types: list[torch.dtype] = []
    unit.mix[0].register_forward_hook(lambda _, inputs, output: types.extend([inputs[0].dtype, output.dtype]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert unit(image.bfloat16()).dtype == torch.bfloat16
        under = unit(image)
    assert types == [torch.float32] * 4
    with torch.inference_mode():
        assert torch.equal(under, unit(image))


def test_a_stride_has_no_fourier_path() -> None:
    with pytest.raises(ValueError, match="stride must be 1 with global channels in input and output, got 2"):
        FourierConvolution(8, 8, 0.5, 0.5, stride=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((8, 8, 1.0, 0.5), "no local channels among 8 and 8: give a smaller global share"),
        ((8, 8, 0.0, 1.0), "no local channels among 8 and 8: give a smaller global share"),
        ((8, 8, 0.5, 0.125), "a single global channel cannot be halved: give a larger global share, or 0"),
    ],
)
def test_shares_of_which_no_layer_can_be_made_are_refused(arguments: tuple[float, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FourierConvolution(*arguments)


def test_local_and_global_channels_add_up() -> None:
    """By hand, from the four paths."""
    torch.manual_seed(0)
    layer = FourierConvolution(8, 12, 0.5, 0.75).eval()
    image = torch.rand(1, 8, 16, 16)
    local, wide = image[:, :4], image[:, 4:]
    assert isinstance(layer.global_to_global, SpectralTransform)
    assert layer.global_to_local is not None and layer.local_to_global is not None
    with torch.inference_mode():
        near = layer.local_to_local(local) + layer.global_to_local(wide)
        far = layer.local_to_global(local) + layer.global_to_global(wide)
        expected = torch.cat([near, far], 1).div(np.sqrt(1 + 1e-5)).clamp_min(0)
        torch.testing.assert_close(layer(image), expected)


def test_scripted_it_paints_the_same_at_any_size() -> None:
    network = small()
    scripted = torch.jit.script(network)
    with torch.inference_mode():
        for size in ((48, 48), (50, 37)):
            torch.testing.assert_close(scripted(picture(*size)), network(picture(*size)))


def test_known_pixels_come_out_as_they_came_in() -> None:
    """Bit by bit, once it is trained; while it trains, they are painted too."""
    one, network = picture(50, 37), small()
    known = one[:, 3] < 0
    with torch.inference_mode():
        pred, painted = network(one), network.train()(one)
    assert torch.equal(pred[0, :, known[0]], one[0, :3, known[0]])
    assert (painted[0, :, known[0]] - one[0, :3, known[0]]).abs().max() > 0.1


def test_a_soft_edge_blends_inside_the_border_of_the_known() -> None:
    one = picture()
    hard, soft = small(), LamaGenerator(4, 3, 8, 2, 2, blend=2).eval()
    soft.load_state_dict(hard.state_dict())
    with torch.inference_mode():
        sharp, blended = hard(one), soft(one)
        unknown = (one[:, 3:] + 1) / 2
        shown = torch.cat([(one[:, :3] + 1) / 2 * (1 - unknown), unknown], dim=1)
        painted = hard.layers(shown).sigmoid() * 2 - 1
    assert torch.equal(sharp[..., :24], blended[..., :24]), "what is painted is painted"
    assert torch.equal(blended[..., 26:], one[:, :3, :, 26:]), "far inside it is as known"
    for column, weight in ((24, 3 / 5), (25, 4 / 5)):
        expected = weight * one[:, :3, :, column] + (1 - weight) * painted[..., column]
        torch.testing.assert_close(blended[..., column], expected)


def test_where_the_mask_is_above_0_it_is_painted_and_told_by_how_much() -> None:
    """Whatever colours lie there; a lower mask, near vessels, is another picture, and as little known."""
    network, low = small(), picture()
    low[:, 3, :, :12] = 0.2
    other = low.clone()
    other[:, :3, :, :24] = 0.9
    with torch.inference_mode():
        painted = network(low)
        torch.testing.assert_close(network(other)[..., :24], painted[..., :24])
        assert not torch.equal(painted[..., :24], network(picture())[..., :24])
    assert torch.equal(painted[..., 24:], low[:, :3, :, 24:])
    assert not torch.equal(painted[..., :12], low[:, :3, :, :12])


def test_under_autocast_what_is_painted_has_more_than_whole_grey_levels() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        painted = small()(picture())[..., :24]
    assert painted.dtype == torch.float32
    assert (painted != painted.bfloat16()).float().mean() > 0.5


@pytest.mark.parametrize("arguments", [{"norm": "instance"}, {"upsampling": "smooth"}])
def test_other_layers_script_and_paint_at_any_size(arguments: dict[str, str]) -> None:
    torch.manual_seed(0)
    network = LamaGenerator(4, 3, 8, 2, 1, **arguments).eval()
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.script(network)(picture(50, 37)), network(picture(50, 37)))


def test_refused() -> None:
    for arguments, message in (
        ({"norm": "none"}, "norm must be one of batch, instance, got 'none'"),
        ({"upsampling": "resize"}, "upsampling must be one of transpose, smooth, got 'resize'"),
        ({"blend": -1}, "blend must be at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            LamaGenerator(**arguments)


def test_exported_to_onnx_it_paints_the_same(tmp_path: Path) -> None:
    """In ONNX Runtime, Fourier units and all."""
    torch.manual_seed(0)
    network = LamaGenerator(4, 3, 8, 2, 1, norm="instance", upsampling="smooth").eval()
    example, file = picture(48, 64), str(tmp_path / "lama.onnx")
    torch.onnx.export(network, (example,), file, dynamo=True, input_names=["image"], output_names=["pred"])
    (pred,) = onnxruntime.InferenceSession(file).run(None, {"image": example.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(pred, network(example), atol=1e-4)


def test_one_picture_is_overfitted() -> None:
    """A hundred steps bring the error of a smooth picture to a tenth of what painting it grey would have."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    target = torch.stack([rows, columns, rows * columns])[None] * 0.8
    network = small().train()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    condition = torch.cat([target, picture(32, 32)[:, 3:]], dim=1)
    for _ in range(100):
        loss = nn.functional.l1_loss(network(condition), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * target.abs().mean().item()

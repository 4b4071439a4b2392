"""Our Inception-v3 against torch-fidelity's, layer by layer, with the same random weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from retina_monai.networks import InceptionV3
from retina_monai.networks.inception import resize_as_tensorflow

LAYERS = [name for name in InceptionV3().state_dict() if name.endswith("conv.weight")]
MODULES = [name.removesuffix(".conv.weight") for name in LAYERS]
BLOCKS = [name for name, _ in InceptionV3().named_children() if name != "fc"]


@pytest.fixture(scope="module")
def fidelity() -> Iterator[ModuleType]:
    """torch-fidelity's module, without running its package, which imports torchvision."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("needs torch-fidelity, which scripts/setup.sh installs (pip install --no-deps torch-fidelity)")
    package = ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch_fidelity"}
    for name in before:
        del sys.modules[name]
    sys.modules["torch_fidelity"] = package
    yield importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    for name in [name for name in sys.modules if name.split(".")[0] == "torch_fidelity"]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights whose activations neither die nor explode; random statistics of the batch norms too."""
    generator = torch.Generator().manual_seed(0)
    filled = {}
    for name, value in InceptionV3().state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            filled[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.is_floating_point():
            fan = value[0].numel() if value.ndim > 1 else 100
            filled[name] = torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5
        else:
            filled[name] = value
    return filled


@pytest.fixture(scope="module")
def networks(
    fidelity: ModuleType, state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, InceptionV3]:
    weights = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(state, weights)
    theirs = fidelity.FeatureExtractorInceptionV3("theirs", ["64", "192", "768", "2048"], str(weights))
    ours = InceptionV3().eval().requires_grad_(False)
    ours.load_state_dict(state)
    return theirs, ours


@pytest.fixture(scope="module")
def activations(networks: tuple[nn.Module, InceptionV3]) -> tuple[dict[str, Tensor], dict[str, Tensor], Any, Any]:
    """What each convolution and each block gives for two pictures, by its name, and the pooled stages."""
    pictures = torch.randint(0, 256, (2, 3, 200, 240), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    kept: list[dict[str, Tensor]] = [{}, {}]
    for network, outputs in zip(networks, kept, strict=True):
        for name, module in network.named_modules():
            if name in MODULES or name in BLOCKS:
                module.register_forward_hook(
                    lambda _, __, output, name=name, outputs=outputs: outputs.update({name: output.clone()})
                )
    theirs, ours = networks
    return kept[0], kept[1], theirs(pictures), ours.stages(pictures)


def test_there_are_94_convolutions_and_their_names_are_torch_fidelitys(networks: tuple[nn.Module, InceptionV3]) -> None:
    theirs, ours = networks
    assert len(MODULES) == 94
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_every_layer_gives_what_torch_fidelitys_gives(
    activations: tuple[dict[str, Tensor], dict[str, Tensor], Any, Any],
) -> None:
    theirs, ours, _, _ = activations
    assert set(ours) == {*MODULES, *BLOCKS} == set(theirs)
    for name, expected in theirs.items():
        assert expected.std() > 1e-3, f"{name} is dead, so that comparing it says nothing"
        torch.testing.assert_close(ours[name], expected, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: name + text)


def test_the_pooled_features_are_torch_fidelitys(
    activations: tuple[dict[str, Tensor], dict[str, Tensor], Any, Any],
) -> None:
    _, _, theirs, ours = activations
    assert [stage.shape[1] for stage in ours] == [64, 192, 768, 2048]
    for expected, stage in zip(theirs, ours, strict=True):
        torch.testing.assert_close(stage, expected, rtol=1e-4, atol=1e-4)


def test_forward_takes_photographs_in_our_range(networks: tuple[nn.Module, InceptionV3]) -> None:
    theirs, ours = networks
    picture = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    scaled = picture.float() / 127.5 - 1
    torch.testing.assert_close(ours(scaled), theirs(picture)[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(scaled + 0.001), ours(scaled), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(32, 32), (256, 256), (200, 240), (299, 299), (600, 400)])
def test_resizing_is_torch_fidelitys(fidelity: ModuleType, shape: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(3)) * 255
    expected = fidelity.interpolate_bilinear_2d_like_tensorflow1x(picture, size=(299, 299), align_corners=False)
    torch.testing.assert_close(resize_as_tensorflow(picture, 299), expected, rtol=1e-5, atol=1e-4)


def test_resizing_has_no_half_pixel_centres() -> None:
    """The first pixel stays the first, unlike in torch and Pillow."""
    picture = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    assert resize_as_tensorflow(picture, 8)[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    pillow = np.asarray(Image.fromarray(picture[0, 0].numpy()).resize((8, 8), Image.Resampling.BILINEAR))
    assert not np.allclose(resize_as_tensorflow(picture, 8)[0, 0].numpy(), pillow)


def test_padding_does_not_darken_the_border_and_the_last_block_pools_by_maximum() -> None:
    """Where the graph of 2015 departs from torchvision's network; a test of what a random state_dict may not tell."""
    network = InceptionV3()
    assert [network.Mixed_7b.by_maximum, network.Mixed_7c.by_maximum] == [False, True]
    block, ones = network.Mixed_5b.eval(), torch.ones(1, 192, 5, 5)
    seen: list[Tensor] = []
    block.branch_pool.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    block(ones)
    torch.testing.assert_close(seen[0], ones)

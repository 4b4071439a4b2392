"""Inception-v3: our range of values, files of weights old and new, and torch-fidelity without its package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from random_inception import inception_state

from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring import inception
from retina_monai.evaluation.measuring.inception import InceptionV3


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> InceptionV3:
    path = tmp_path_factory.mktemp("weights") / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(inception_state(), path)
    return InceptionV3(path)


def test_forward_takes_photographs_in_our_range(network: InceptionV3) -> None:
    picture = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    scaled = picture.float() / 127.5 - 1
    (expected,) = network.network(picture)
    assert expected.shape == (1, 2048) and expected.std() > 1e-3
    torch.testing.assert_close(network(scaled), expected, rtol=0, atol=0)
    torch.testing.assert_close(network(scaled + 0.001), expected, rtol=0, atol=0)


def test_the_features_are_those_of_the_network_of_2015(network: InceptionV3) -> None:
    """Of which a random state can show that mean pooling counts no padding: torchvision's counts it."""
    seen: list[torch.Tensor] = []
    block = network.network.Mixed_5b
    hook = block.branch_pool.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    block(torch.ones(1, 192, 5, 5))
    hook.remove()
    torch.testing.assert_close(seen[0], torch.ones(1, 192, 5, 5))


def test_torch_fidelity_can_be_imported_afterwards(network: InceptionV3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch_fidelity"]:
        monkeypatch.delitem(sys.modules, name)
    assert inception._torch_fidelity().FeatureExtractorInceptionV3
    assert "torch_fidelity" not in sys.modules  # or the whole package would never be loaded


def test_older_files_without_the_counters_of_batch_norm_load(network: InceptionV3, tmp_path: Path) -> None:
    state = {name: value for name, value in inception_state().items() if "num_batches_tracked" not in name}
    torch.save(state, tmp_path / "pt_inception.pth")
    picture = torch.zeros(1, 3, 32, 32)
    torch.testing.assert_close(InceptionV3(tmp_path / "pt_inception.pth")(picture), network(picture), rtol=0, atol=0)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "torchvision.pth")
    with pytest.raises(RetinaError, match=r"torchvision\.pth does not hold the weights of the Inception-v3 of FID"):
        InceptionV3(tmp_path / "torchvision.pth")


def test_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "weights.pth")
    monkeypatch.setattr(inception, "find_spec", lambda name: None)
    with pytest.raises(RetinaError, match=r"needs torch-fidelity: pip install 'retina_monai\[fid\]'"):
        InceptionV3(tmp_path / "weights.pth")

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from random_inception import inception_state

from retina_monai.bundle import digest
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.extractors import load_extractors
from retina_monai.networks import RetinaEncoder

RELEASED = Path(__file__).resolve().parents[2] / "bundles" / "retina_encoder" / "models" / "model.pt"


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(inception_state(), path)
    return path


@pytest.mark.skipif(not RELEASED.is_file(), reason="retina_encoder has no released weights yet")
def test_the_released_encoder_comes_first_and_its_name_has_version_and_digest(inception_weights: Path) -> None:
    extractors = load_extractors(inception_weights=inception_weights)
    first, second = extractors
    assert re.fullmatch(rf"retina_encoder \d+\.\d+\.\d+ \(sha256 {digest(RELEASED)[:8]}\)", first)
    assert second == f"inception_v3 of 2015-12-05 (sha256 {digest(inception_weights)[:8]})"
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = {name: extract(images) for name, extract in extractors.items()}
    assert {name: tuple(value.shape) for name, value in features.items()} == {first: (2, 96), second: (2, 2048)}
    assert all(value.isfinite().all() and value.std() > 0 for value in features.values())
    assert list(load_extractors()) == [first]


def test_weights_of_a_user_go_by_their_digest_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(RetinaEncoder().state_dict(), tmp_path / "mine.pt")
    ((name, extract),) = load_extractors(tmp_path / "mine.pt").items()
    assert name == f"retina_encoder (sha256 {digest(tmp_path / 'mine.pt')[:8]})"
    features = extract(torch.zeros(1, 3, 256, 256))
    assert features.shape == (1, 96) and not features.requires_grad


def test_files_that_are_missing_or_of_other_networks_are_refused(tmp_path: Path, inception_weights: Path) -> None:
    torch.save(RetinaEncoder().state_dict(), tmp_path / "encoder.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 no weights")
    with pytest.raises(RetinaError, match=r"there is no checkpoint .*absent\.pt"):
        load_extractors(tmp_path / "absent.pt")
    with pytest.raises(RetinaError, match=r"encoder\.pt does not hold the weights of the Inception-v3 of FID"):
        load_extractors(tmp_path / "encoder.pt", tmp_path / "encoder.pt")
    with pytest.raises(RetinaError, match=r"6726825d\.pth holds the weights of another network than RetinaEncoder"):
        load_extractors(inception_weights)
    with pytest.raises(RetinaError, match=r"broken\.pt is truncated or not a checkpoint"):
        load_extractors(tmp_path / "encoder.pt", tmp_path / "broken.pt")
    with pytest.raises(RetinaError, match=r"absent\.pth cannot be read"):
        load_extractors(tmp_path / "encoder.pt", tmp_path / "absent.pth")

"""What all bundles that segment promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from states import checkpoint, equal

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@pytest.mark.parametrize("bundle", ["iternet_vessel", "unet_disc", "disc_from_vessels"])
def test_a_resumed_training_is_the_uninterrupted_one(
    bundle: str, run_config: Callable[..., ConfigParser], tmp_path: Path
) -> None:
    train = BUNDLES / bundle / "configs" / "train.json"
    whole, resumed = ({"output_dir": str(tmp_path / name), "linear_decay": False} for name in ("whole", "resumed"))
    run_config(train, max_epochs=2, **whole)
    run_config(train, max_epochs=1, **resumed)
    run_config(train, max_epochs=2, resume=True, num_workers=1, **resumed)
    expected, found = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "resumed")
    for name in ("networks.segmenter", "averaged"):
        assert equal(expected[name], found[name])
    assert not equal(expected["networks.segmenter"], checkpoint(tmp_path / "whole", 1)["networks.segmenter"])

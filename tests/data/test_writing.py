from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina_monai import __version__
from retina_monai.data.files.writing import write_png
from retina_monai.errors import RetinaError


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel_rows_then_columns(tmp_path: Path, channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (channels, 5, 9), np.uint8)
    write_png(tmp_path / "new" / "eye.png", array)
    with Image.open(tmp_path / "new" / "eye.png") as picture:
        read = np.asarray(picture).reshape(5, 9, channels).transpose(2, 0, 1)
    assert np.array_equal(read, array)


def test_png_says_that_it_is_synthetic_and_what_wrote_it(tmp_path: Path) -> None:
    array = np.zeros((3, 4, 4), np.uint8)
    write_png(tmp_path / "generated.png", array)
    write_png(tmp_path / "copied.png", array, synthetic=False)
    with Image.open(tmp_path / "generated.png") as picture:
        assert picture.info["SyntheticData"] == "YES"
        assert picture.info["Software"] == f"retina_monai {__version__}"
    with Image.open(tmp_path / "copied.png") as picture:
        assert "SyntheticData" not in picture.info


@pytest.mark.parametrize("array", [np.zeros((3, 4, 4)), np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8)])
def test_png_refuses_what_is_no_picture(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture is uint8"):
        write_png(tmp_path / "eye.png", array)
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "eye.png", Path("/proc/none/eye.png")):
        with pytest.raises(RetinaError, match=f"{path} cannot be written"):
            write_png(path, np.zeros((1, 4, 4), np.uint8))

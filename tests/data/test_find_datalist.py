"""What ``find_datalist``, ``find_eyes``, ``LoadEyed`` and ``VesselMaps`` do about broken files and odd names."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retina_monai.data.listing.layout import SPLITS, Item
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.data.sets.eyes import LoadEyed, find_eyes, with_kind
from retina_monai.data.sets.vessel_maps import VesselMaps, find_vessel_maps
from retina_monai.errors import RetinaError

COUNT = 6


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("drawn") / "phantoms", COUNT, 64, 0)


@pytest.fixture
def eyes(drawn: Path, tmp_path: Path) -> Path:
    """A folder of someone's own, ``images/`` and ``vessels/``."""
    for name in ("images", "vessels"):
        shutil.copytree(drawn / name, tmp_path / "eyes" / name)
    return tmp_path / "eyes"


def every(folder: Path, skip_unreadable: bool = False) -> list[Item]:
    datalist = find_datalist(folder, skip_unreadable)
    return [item for split in SPLITS for item in datalist[split]]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-25])
    return path


def white(path: Path, value: int = 255) -> Path:
    with Image.open(path) as picture:
        size = picture.size
    Image.new("L", size, value).save(path)
    return path


def test_all_broken_files_are_named_or_their_eyes_left_out(eyes: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = every(eyes)
    broken = [cut(files(eyes / "images")[1]), cut(files(eyes / "vessels")[3]), cut(files(eyes / "images")[4])]
    with pytest.raises(RetinaError, match=r"^3 of 6 eyes cannot be used: ") as error:
        find_datalist(eyes)
    assert all(str(path) in str(error.value) for path in broken)
    left = [item for item in whole if Path(item["image"]).stem not in {path.stem for path in broken}]
    assert every(eyes, skip_unreadable=True) == left and len(left) == 3
    assert "left out 3 of 6 eyes" in caplog.text


def test_a_name_does_not_change_when_its_namesake_is_left_out(drawn: Path, eyes: Path, tmp_path: Path) -> None:
    shutil.copytree(eyes, tmp_path / "more" / "eyes")
    both = [eyes, tmp_path / "more" / "eyes"]
    names = {item["image"]: item["name"] for item in find_datalist(both)["training"]}
    cut(Path(next(iter(names))))
    after = {item["image"]: item["name"] for item in find_datalist(both, skip_unreadable=True)["training"]}
    assert len(after) == len(names) - 1 and after.items() <= names.items()


@pytest.mark.parametrize("name", ["two words", "Größe Ü", "two\nlines", "a;b", "'quoted'", "[1]", "100%", "-dash"])
def test_folders_and_files_of_any_name_are_found(eyes: Path, name: str) -> None:
    folder = eyes.rename(eyes.parent / name)
    for kind in ("images", "vessels"):
        first = files(folder / kind)[0]
        first.rename(first.with_name(f"{name}{first.suffix}"))
    items = every(folder)
    assert len(items) == COUNT and len({item["name"] for item in items}) == COUNT
    assert all("\n" not in item["name"] and "/" not in item["name"] for item in items)
    assert len(find_vessel_maps(folder / "vessels")) == COUNT
    cut(files(folder / "images")[2])
    with pytest.raises(RetinaError, match="is damaged, truncated") as error:
        find_datalist(folder)
    assert len(str(error.value).splitlines()) == 1


def test_a_name_that_is_not_utf8_is_found_and_named(eyes: Path) -> None:
    for kind in ("images", "vessels"):
        first = files(eyes / kind)[0]
        try:
            os.rename(first, os.fsencode(eyes / kind) + b"/caf\xe9.png")
        except OSError:
            pytest.skip("needs a file system that takes any bytes as a name")
    assert len(every(eyes)) == COUNT
    cut(next(path for path in files(eyes / "images") if "caf" in path.name))
    with pytest.raises(RetinaError, match=r"caf\\udce9\.png is damaged") as error:
        find_datalist(eyes)
    str(error.value).encode()


def test_links_out_of_the_folder_are_followed(eyes: Path, tmp_path: Path) -> None:
    elsewhere = shutil.move(eyes / "images", tmp_path / "elsewhere")
    (eyes / "images").mkdir()
    for path in files(Path(elsewhere)):
        (eyes / "images" / path.name).symlink_to(path)
    (tmp_path / "link").symlink_to(eyes)
    assert len(every(tmp_path / "link")) == COUNT
    files(Path(elsewhere))[2].unlink()
    with pytest.raises(RetinaError, match="phantom_00002"):
        find_datalist(tmp_path / "link")


def test_a_switch_given_as_text_skips(eyes: Path, tmp_path: Path) -> None:
    cut(files(eyes / "images")[0])
    with pytest.raises(RetinaError, match="is damaged"):
        find_eyes(str(eyes), tmp_path / "none", skip_unreadable="false")
    assert sum(map(len, find_eyes(str(eyes), tmp_path / "none", skip_unreadable="true").values())) == COUNT - 1
    with pytest.raises(RetinaError, match="skip_unreadable is a switch"):
        find_eyes(str(eyes), tmp_path / "none", skip_unreadable="perhaps")


def test_eyes_without_a_vessel_map_are_left_out_of_training(
    eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    datalist = find_datalist(eyes)
    for item in datalist["training"][:2]:
        del item["vessel"]
    monkeypatch.setattr("retina_monai.data.sets.eyes.find_datalist", lambda *_: datalist)
    monkeypatch.setattr("retina_monai.data.sets.vessel_maps.find_datalist", lambda *_, **__: datalist)
    assert find_eyes(str(eyes), tmp_path)["training"] == datalist["training"][2:]
    assert f"left out 2 of {len(datalist['training'])} eyes, which have no vessel map" in caplog.text
    assert len(find_vessel_maps(eyes)) == COUNT - 2
    for item in datalist["training"][2:]:
        del item["vessel"]
    assert find_eyes(str(eyes), tmp_path)["training"] == []
    for item in [*datalist["validation"], *datalist["test"]]:
        item.pop("vessel", None)
    with pytest.raises(RetinaError, match="eyes has no eye with a vessel map: give a data set"):
        find_eyes(str(eyes), tmp_path)
    with pytest.raises(RetinaError, match="eyes holds no vessel map"):
        find_vessel_maps(eyes)


def test_all_with_vessel_maps_are_kept_silently(caplog: pytest.LogCaptureFixture) -> None:
    assert with_kind([{"vessel": "a"}, {"vessel": "b"}], "vessel") == [{"vessel": "a"}, {"vessel": "b"}]
    assert not caplog.text


@pytest.mark.parametrize(
    ("value", "message"), [(0, "has no vessel in it"), (255, r"marks \d+% of the eye as vessels: it is inverted")]
)
def test_an_eye_that_is_loaded_is_looked_at(eyes: Path, value: int, message: str) -> None:
    item = every(eyes)[0]
    load = LoadEyed(32)
    assert load(item)["vessel"].any()
    white(Path(item["vessel"]), value)
    with pytest.raises(RetinaError, match=rf"vessels/\S+ {message}"):
        load(item)
    shutil.copy(item["image"], item["vessel"])
    white(Path(item["image"]))
    with pytest.raises(RetinaError, match=r"images/\S+ is a mask, black and white"):
        load(item)


def test_vessel_maps_are_checked_at_the_door_and_when_they_are_read(
    eyes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = files(eyes / "vessels")
    broken, empty = cut(paths[1]), white(paths[3], 0)
    with pytest.raises(RetinaError, match=rf"{broken.name} is damaged"):
        VesselMaps(eyes / "vessels", 32)
    skipping = VesselMaps(eyes / "vessels", 32, skip_unreadable="true")
    assert [skipping[place]["name"] for place in range(len(skipping))] == [paths[place].stem for place in (0, 2, 4, 5)]
    assert str(broken) in caplog.text and f"{empty} has no vessel in it" in caplog.text
    broken.unlink()
    maps = VesselMaps(eyes / "vessels", 32)
    assert np.any(maps[0]["vessel_share"])
    with pytest.raises(RetinaError, match=rf"{empty.name} has no vessel in it"):
        maps[2]
    white(empty)
    with pytest.raises(RetinaError, match=rf"{empty.name} marks 100% of the eye"):
        maps[2]


def test_two_maps_of_one_name_are_refused_and_stray_files_passed_over(eyes: Path) -> None:
    first = files(eyes / "vessels")[0]
    (eyes / "vessels" / f"._{first.name}").write_bytes(b"stray")
    (eyes / "vessels" / "folder.png").mkdir()
    assert len(find_vessel_maps(eyes / "vessels")) == COUNT
    with Image.open(first) as picture:
        picture.save(first.with_suffix(".jpg"))
    with pytest.raises(RetinaError, match=rf"{first.stem}\.(png|jpg) are the same picture: remove or rename one"):
        find_vessel_maps(eyes / "vessels")


def test_gzipped_maps_bear_their_own_names(eyes: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for ending in ("ppm.gz", "PPM.GZ"):
        with Image.open(files(eyes / "vessels")[0]) as picture:
            picture.convert("RGB").save(tmp_path / "plain.ppm")
        name = f"im0001.{ending[0]}.{ending}"
        (tmp_path / "maps" / name).write_bytes(gzip.compress((tmp_path / "plain.ppm").read_bytes()))
    assert [item["name"] for item in find_vessel_maps(tmp_path / "maps")] == ["im0001.P", "im0001.p"]

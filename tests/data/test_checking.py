"""What is wrong with a data set's pictures is found all at once; no eye that looks like one is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retina_monai.data.files.checking import check_contents, check_eye, check_files, refuse_or_skip
from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom, write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.kinds import LESIONS

SIZE = 64
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
INSIDE = np.hypot(ROWS - 31.5, COLUMNS - 31.5) < 30
VESSEL = (INSIDE & (COLUMNS % 16 < 2)).astype(np.uint8)[None]
PHOTOGRAPH = np.stack([INSIDE * (60 * share + ROWS + COLUMNS) for share in (2, 1, 0)]).astype(np.uint8)
ITEM = {"image": "photo.jpg", "vessel": "map.png", "fov": "fov.png"}


def save(path: Path, array: np.ndarray) -> str:
    """Write ``(C, H, W)`` in [0, 255]."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)) if len(array) == 3 else array[0]).save(path)
    return str(path)


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    return [
        {
            "name": f"eye{number}",
            "image": save(tmp_path / "images" / f"{number}.png", PHOTOGRAPH),
            "vessel": save(tmp_path / "vessels" / f"{number}.png", VESSEL * np.uint8(255)),
            "fov": save(tmp_path / "fovs" / f"{number}.png", INSIDE[None] * np.uint8(255)),
        }
        for number in range(16)
    ]


Check = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("check", [check_files, check_contents])
def test_sound_eyes_pass_in_their_order(check: Check, items: list[dict[str, str]]) -> None:
    del items[3]["fov"], items[5]["vessel"], items[7]["image"]
    for skip in (False, True):
        assert check(items, skip) == items
    assert check([], True) == []


@pytest.mark.parametrize("check", [check_files, check_contents])
def test_all_broken_files_are_named_or_left_out(
    check: Check, items: list[dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    broken = [Path(items[2]["image"]), Path(items[9]["vessel"]), Path(items[9]["fov"]), Path(items[15]["image"])]
    broken[0].write_bytes(b"")
    broken[1].write_bytes(broken[1].read_bytes()[:-20])
    broken[2].write_text("text")
    broken[3].unlink()
    with pytest.raises(RetinaError) as error:
        check(items)
    text = str(error.value)
    assert text.startswith("3 of 16 eyes cannot be used: ") and text.endswith(
        "leave them out with --skip_unreadable true)"
    )
    places = [text.index(str(path)) for path in broken]
    assert places == sorted(places) and "more" not in text
    whole = [item for item in items if item["name"] not in ("eye2", "eye9", "eye15")]
    assert check(items, skip_unreadable=True) == whole
    assert "left out 3 of 16 eyes: " in caplog.text and all(str(path) in caplog.text for path in broken)


def test_a_cut_that_leaves_the_header_is_found_without_decoding(
    items: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(items[4]["image"])
    path.write_bytes(path.read_bytes()[:-30])
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(RetinaError, match=r"^\S+4\.png is damaged, truncated"):
        check_files(items)


def test_ten_are_named_and_the_rest_counted(items: list[dict[str, str]]) -> None:
    for item in items:
        Path(item["vessel"]).write_bytes(b"")
    with pytest.raises(RetinaError) as error:
        check_files(items)
    assert str(error.value).count("is empty (0 bytes)") == 10
    assert "; and 6 more (fix or remove them" in str(error.value)
    with pytest.raises(RetinaError, match=r"^no eye is left, each of the 16 cannot be used: .*; and 6 more$"):
        check_files(items, skip_unreadable=True)


@pytest.mark.parametrize("check", [check_files, check_contents])
def test_other_sizes_are_compared_as_the_pictures_are_held(check: Check, items: list[dict[str, str]]) -> None:
    upright = np.ascontiguousarray(PHOTOGRAPH[:, 8:56])
    exif = Image.Exif()
    exif[274] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1, (1, 2)).transpose(1, 2, 0)))
    stored.save(items[0]["image"], exif=exif)
    for key, mask in (("vessel", VESSEL), ("fov", INSIDE[None])):
        save(Path(items[0][key]), mask[:, 8:56] * np.uint8(255))
    assert check(items) == items
    save(Path(items[0]["fov"]), INSIDE[None, :, 8:56] * np.uint8(255))
    with pytest.raises(
        RetinaError,
        match=r"fovs/0\.png is 48 x 64 pixels, but its photograph .*0\.png is 64 x 48: the mask lies",
    ):
        check(items)


EDGES = np.zeros((1, SIZE, SIZE), np.uint8)
EDGES[:, :2] = 1  # outside of the field of view
CONTENTS = {
    "no vessel": ("vessel", VESSEL * 0, r"map\.png has no vessel in it"),
    "outside": ("vessel", EDGES, r"map\.png has no vessel in it"),
    "all white": ("vessel", VESSEL * 0 + 1, r"map\.png marks 100% of the eye as vessels: it is inverted, or not a"),
    "inverted": ("vessel", 1 - VESSEL, r"map\.png marks 8\d% of the eye as vessels: it is inverted"),
    "no field of view": ("fov", VESSEL * 0, r"fov\.png is an empty field of view"),
    "black": ("image", PHOTOGRAPH * 0, r"photo\.jpg is black"),
    "swapped": ("image", np.repeat(VESSEL * np.uint8(255), 3, 0), r"photo\.jpg is a mask, black and white.* swapped"),
    "swapped, 0 and 1": ("image", np.repeat(VESSEL, 3, 0), r"photo\.jpg is a mask"),
    "white": ("image", PHOTOGRAPH * 0 + 255, r"photo\.jpg is a mask"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_what_is_no_eye_is_refused(case: str, items: list[dict[str, str]]) -> None:
    key, array, message = CONTENTS[case]
    eye = {"image": PHOTOGRAPH, "vessel": VESSEL, "fov": INSIDE[None].astype(np.uint8)} | {key: array}
    with pytest.raises(RetinaError, match=f"^{message}"):
        check_eye(eye["image"], eye["vessel"], ITEM, eye["fov"])
    save(Path(items[6][key]), array if key == "image" else array * np.uint8(255))
    with pytest.raises(
        RetinaError,
        match=message.replace(r"photo\.jpg", "6.png").replace(r"map\.png", "6.png").replace(r"fov\.png", "6.png"),
    ):
        check_contents(items)
    assert check_contents(items, skip_unreadable=True) == items[:6] + items[7:]


def test_a_sound_eye_passes_with_and_without_masks() -> None:
    fov = INSIDE[None].astype(np.uint8)
    for vessel, field in ((VESSEL, fov), (VESSEL, None), (None, None), (None, fov)):
        check_eye(PHOTOGRAPH, vessel, ITEM, field)
    grey = np.repeat(PHOTOGRAPH[1:2], 3, 0)
    check_eye(grey, VESSEL, ITEM, fov)
    check_eye(grey // 8, VESSEL, ITEM, fov)  # too dark to look at, but no mask


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_a_mask_stored_as_jpeg_is_no_photograph(quality: int) -> None:
    vessel = generate_phantom(0, 256)["vessel"]
    file = BytesIO()
    Image.fromarray(vessel.reshape(256, 256).astype(np.uint8) * 255).convert("RGB").save(file, "JPEG", quality=quality)
    image = np.asarray(Image.open(file)).transpose(2, 0, 1)
    assert len(np.unique(image)) > 2
    with pytest.raises(RetinaError, match="is a mask"):
        check_eye(image, None, ITEM)


@pytest.mark.parametrize(("vessel", "fov"), [(VESSEL[:, :-1], None), (VESSEL, VESSEL[:, :-1])])
def test_a_mask_of_another_size_is_refused(vessel: np.ndarray, fov: np.ndarray | None) -> None:
    with pytest.raises(
        RetinaError, match=r"^(map|fov)\.png is 64 x 63 pixels, but its photograph photo\.jpg is 64 x 64"
    ):
        check_eye(PHOTOGRAPH, vessel, ITEM, fov)


def test_half_is_not_over_half() -> None:
    vessel = (np.indices((8, 8)).sum(axis=0) % 2).astype(np.uint8)[None]
    check_masks({"vessel": vessel}, ITEM)
    vessel[0, 4, 4] = 1
    with pytest.raises(RetinaError, match="marks 52% of the eye"):
        check_masks({"vessel": vessel}, ITEM)


FOV = INSIDE[None].astype(np.uint8)
DISC = (np.hypot(ROWS - 30, COLUMNS - 18) < 6).astype(np.uint8)[None]
CUP = (np.hypot(ROWS - 30, COLUMNS - 18) < 3).astype(np.uint8)[None]
SPOT = ((ROWS // 2 == 20) & (COLUMNS // 2 == 20)).astype(np.uint8)[None]
SOUND = {"vessel": VESSEL, "artery": VESSEL, "vein": VESSEL, "disc": DISC, "cup": CUP, "atrophy": DISC}
SOUND |= dict.fromkeys(LESIONS, SPOT)
NAMED = {"image": "photo.jpg", "fov": "fov.png"} | {key: f"{key}.png" for key in SOUND}


def test_sound_masks_of_every_kind_pass() -> None:
    check_eye(PHOTOGRAPH, None, NAMED, FOV, SOUND)
    none = {key: mask * 0 for key, mask in SOUND.items() if key in ("cup", "atrophy", *LESIONS)}
    check_eye(PHOTOGRAPH, None, NAMED, FOV, none)
    large = FOV.copy()
    large[:, :20] = 0
    check_eye(PHOTOGRAPH, None, NAMED, FOV, {"atrophy": large})
    check_masks({"vessel": VESSEL[:, 20:40, 20:40]}, NAMED)  # a part of an eye


@pytest.mark.parametrize("key", SOUND)
def test_inverted_masks_of_every_kind_are_refused(key: str) -> None:
    for inverted in (1 - SOUND[key], (1 - SOUND[key]) & FOV):
        with pytest.raises(RetinaError, match=rf"^{key}\.png marks \d+% of the eye as .*: it is inverted, or not"):
            check_eye(PHOTOGRAPH, None, NAMED, FOV, {key: inverted})
        if key != "atrophy":  # which may mark most of a frame
            with pytest.raises(RetinaError, match=rf"^{key}\.png marks \d+% of"):
                check_masks({key: inverted}, NAMED)


def test_a_mask_of_much_that_also_marks_the_surroundings_is_inverted() -> None:
    atrophy = FOV.copy()
    atrophy[:, 20:] = 0
    with pytest.raises(RetinaError, match=r"^atrophy\.png marks 100% of what surrounds the eye as atrophy"):
        check_eye(PHOTOGRAPH, None, NAMED, FOV, {"atrophy": 1 - atrophy})


@pytest.mark.parametrize("key", ["vessel", "artery", "vein", "disc"])
def test_black_masks_of_what_every_eye_has_are_refused(key: str) -> None:
    with pytest.raises(RetinaError, match=rf"^{key}\.png has no"):
        check_eye(PHOTOGRAPH, None, NAMED, FOV, {key: VESSEL * 0})


OTHERS = {
    "a disc over most of the eye": ({"disc": (np.hypot(ROWS - 31, COLUMNS - 31) < 24)[None]}, r"^disc\.png marks 6\d%"),
    "a field of view as vessels": ({"vessel": FOV}, r"^vessel\.png marks 100% of the eye as vessels"),
    "a disc as vessels": ({"vessel": DISC}, r"^vessel\.png marks a solid area and not vessels"),
    "vessels as a disc": ({"disc": VESSEL}, r"^disc\.png marks lines or spots and not one optic disc"),
    "disc and cup": ({"disc": CUP, "cup": DISC}, r"^cup\.png marks more than disc\.png: .*swapped"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_masks_in_the_place_of_one_are_refused(case: str) -> None:
    masks, message = OTHERS[case]
    with pytest.raises(RetinaError, match=message):
        check_eye(PHOTOGRAPH, None, NAMED, FOV, {key: mask.astype(np.uint8) for key, mask in masks.items()})


def test_vessels_that_fill_a_small_eye_are_inverted_without_its_field_of_view() -> None:
    eye = np.zeros((1, 160, 160), np.uint8)
    eye[:, 48:112, 48:112] = FOV & (1 - VESSEL)
    with pytest.raises(RetinaError, match=r"^vessel\.png marks 70% of the eye as vessels"):
        check_masks({"vessel": eye}, NAMED)


FIELDS = {
    "inverted": (1 - FOV, {}, r"^fov\.png is an inverted field of view"),
    "a disc": (DISC, {}, r"^fov\.png marks 4% of what the photograph shows: it is not a field of view"),
    "vessels": (VESSEL, {}, r"^fov\.png marks \d+% of what the photograph shows: it is not a field of view"),
    "swapped with the disc": (DISC, {"disc": FOV}, r"^fov\.png .* and disc\.png .* are swapped"),
    "swapped with the vessels": (VESSEL, {"vessel": FOV}, r"^fov\.png .* and vessel\.png .* are swapped"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_what_is_no_field_of_view_is_refused(case: str) -> None:
    fov, masks, message = FIELDS[case]
    with pytest.raises(RetinaError, match=message):
        check_eye(PHOTOGRAPH, None, NAMED, fov, masks)


def test_fields_of_view_pass_whole_or_cut_and_inverted_ones_are_refused_beside_maps_alone() -> None:
    cut = FOV.copy()
    cut[:, :12] = cut[:, 52:] = 0
    for fov in (FOV, cut, FOV * 0 + 1):
        check_eye(PHOTOGRAPH, None, NAMED, fov)
        check_masks({"vessel": VESSEL}, NAMED, fov)
    with pytest.raises(RetinaError, match=r"^fov\.png is an inverted field of view"):
        check_masks({"vessel": VESSEL}, NAMED, 1 - FOV)


def test_photograph_and_mask_that_have_changed_places_are_both_named(items: list[dict[str, str]]) -> None:
    items[3]["image"], items[3]["vessel"] = items[3]["vessel"], items[3]["image"]
    items[5]["image"], items[5]["fov"] = items[5]["fov"], items[5]["image"]
    with pytest.raises(RetinaError) as error:
        check_contents(items)
    for number, folder in ((3, "vessels"), (5, "fovs")):
        assert re.search(
            rf"{folder}/{number}\.png is a mask, black and white, and \S+images/{number}\.png is a photograph",
            str(error.value),
        )


@pytest.mark.parametrize("colours", [((255, 0, 0), (0, 0, 255)), ((29, 29, 29), (76, 76, 76))])
def test_a_label_map_is_no_photograph(colours: tuple[tuple[int, int, int], ...]) -> None:
    left, right = (np.array(colour, np.uint8)[:, None, None] for colour in colours)
    image = (VESSEL & (COLUMNS < 32)) * left + (VESSEL & (COLUMNS >= 32)) * right
    with pytest.raises(RetinaError, match=r"^photo\.jpg has at most 8 colours: it is a label map"):
        check_eye(image.astype(np.uint8), None, ITEM)


def test_one_fault_is_its_own_sentence_and_names_keep_to_a_line(caplog: pytest.LogCaptureFixture) -> None:
    refuse_or_skip([], 5, False)
    with pytest.raises(RetinaError, match=r"^a is empty \(or leave the eye out with --skip_unreadable true\)$"):
        refuse_or_skip([["a is empty"]], 5, False)
    refuse_or_skip([["two\nlines.png is empty"]], 5, True)
    assert caplog.messages == ["left out 1 of 5 eyes: two\\nlines.png is empty"]


@pytest.mark.parametrize(("grade", "myopia"), [(0, 0.0), ("mixed", "mixed"), (4, 1.0)])
def test_no_phantom_is_refused(tmp_path: Path, grade: Any, myopia: Any) -> None:
    datalist = find_datalist(write_phantoms(tmp_path / "phantoms", 6, 64, 0, grade, myopia))
    items = [item for split in SPLITS for item in datalist[split]]
    assert check_contents(items) == items


@pytest.mark.parametrize("name", ["CHASE_DB1", "FIVES", "HRF", "IDRiD"])
def test_no_real_eye_is_refused(real_set: Callable[[str], Path], name: str) -> None:
    datalist = find_datalist(real_set(name))
    items = [item for split in SPLITS for item in datalist[split]][::10]
    assert check_contents(items) == items


def test_real_masks_are_no_photographs(real_set: Callable[[str], Path]) -> None:
    for item in find_datalist(real_set("CHASE_DB1"))["test"]:
        with pytest.raises(RetinaError, match="is a mask"):
            check_eye(read_photograph(item["vessel"]), read_mask(item["vessel_2nd"]), item)

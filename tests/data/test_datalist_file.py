"""A ``datalist.json`` that is one is read as it stands; every other is refused in a sentence that says where."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest

from retina_monai.data.listing.datalist_file import read_datalist_file
from retina_monai.errors import RetinaError


def eye(key: str, **more: Any) -> dict[str, Any]:
    return {"image": f"images/{key}.png", "vessel": f"vessels/{key}.png", "patient": key, **more}


def write(folder: Path, content: Any) -> Path:
    path = folder / "datalist.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def refusal(path: Path) -> str:
    """What follows the file's name in the one line of the error."""
    with pytest.raises(RetinaError) as error:
        read_datalist_file(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500
    return message.removeprefix(str(path)).lstrip(": ")


def test_paths_are_completed_and_the_rest_is_kept(tmp_path: Path) -> None:
    extra = {"age": 61, "codes": ["H35.0", None], "site": {"town": "Jena"}}
    item = eye("a", fov="../fovs/a.png", laterality="R", grade=0, annotated=["disc", "fov"], **extra)
    found = read_datalist_file(write(tmp_path, {"name": "mine", "training": [item], "test": [eye("b", name="B")]}))

    assert found["training"] == [
        {
            "dataset": "mine",
            "name": "a",
            "image": str(tmp_path / "images" / "a.png"),
            "vessel": str(tmp_path / "vessels" / "a.png"),
            "fov": str(tmp_path.parent / "fovs" / "a.png"),
            "patient": "a",
            "laterality": "R",
            "grade": 0,
            "annotated": ["disc", "fov"],
            **extra,
        }
    ]
    assert (found["validation"], found["test"][0]["name"]) == ([], "B")


def test_absolute_paths_and_links_out_of_the_folder_are_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "eye.png").touch()
    (inside / "link.png").symlink_to(outside / "eye.png")
    (tmp_path / "linked").symlink_to(inside)
    for image in ("../outside/eye.png", str(outside / "eye.png"), "../linked/../outside/eye.png"):
        path = write(inside, {"training": [{"image": image, "patient": "p"}]})
        assert read_datalist_file(path)["training"][0]["image"] == str(outside / "eye.png")
    path = write(inside, {"training": [{"image": "link.png", "patient": "p"}]})
    assert read_datalist_file(path)["training"][0]["image"] == str(inside / "link.png")
    path = write(inside, {"training": [{"image": text, "patient": "p"} for text in ("link.png", "../outside/eye.png")]})
    with pytest.raises(RetinaError, match="item 1 of training and item 2 of training are one photograph"):
        read_datalist_file(path)


def test_the_vessel_map_may_be_missing_and_the_set_takes_its_folders_name(tmp_path: Path) -> None:
    (tmp_path / "IDRiD").mkdir()
    path = write(tmp_path / "IDRiD", {"training": [{"image": ".hidden.png", "patient": "p", "vessel": None}]})
    (item,) = read_datalist_file(path)["training"]
    assert item == {"dataset": "IDRiD", "name": "hidden", "image": str(path.parent / ".hidden.png"), "patient": "p"}


@pytest.mark.parametrize("vessel", [{}, {"vessel": None}, {"vessel": "labels/a.png"}])
def test_a_label_is_the_vessel_map(tmp_path: Path, vessel: dict[str, Any]) -> None:
    item = {"image": "a.png", "label": "labels/a.png", "patient": "p", **vessel}
    (found,) = read_datalist_file(write(tmp_path, {"training": [item]}))["training"]
    assert found["vessel"] == str(tmp_path / "labels" / "a.png") and "label" not in found


@pytest.mark.parametrize("label", ["classes/a.png", 3])
def test_a_label_of_something_else_is_kept(tmp_path: Path, label: Any) -> None:
    (found,) = read_datalist_file(write(tmp_path, {"training": [eye("a", label=label)]}))["training"]
    assert found["label"] == label and found["vessel"] == str(tmp_path / "vessels" / "a.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_editors_that_mark_the_byte_order_are_understood(tmp_path: Path, encoding: str) -> None:
    text = json.dumps({"training": [eye("Auge ä\n")]}, ensure_ascii=False)
    (found,) = read_datalist_file(write(tmp_path, text.encode(encoding)))["training"]
    assert found["image"] == str(tmp_path / "images" / "Auge ä\n.png")


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"eye\xff")
    (found,) = read_datalist_file(write(tmp_path, {"training": [eye(name)]}))["training"]
    assert os.fsencode(found["image"]).endswith(b"/images/eye\xff.png")


NOT_JSON = {
    "nothing": (b"", "is not a datalist, it is not JSON (line 1, column 1): write it as JSON"),
    "cut short": (b'{"training": [{"im', "is not a datalist, it is not JSON (line 1, column 16): write it as JSON"),
    "Latin-1": ('{"name": "ä"}'.encode("latin-1"), "is not JSON (bytes that are not UTF-8)"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not JSON (bytes that are not UTF-8)"),
    "nested": (b"[" * 100_000, "is not JSON (lists nested too deep)"),
    "digits": (b'{"training": [' + b"9" * 5000 + b"]}", "is not JSON (a number of thousands of digits"),
    "a list": (b"[]", "is not a datalist: it takes JSON with items in training, validation, test"),
    "a number": (b"NaN", "is not a datalist: it takes JSON with items in training, validation, test"),
}


@pytest.mark.parametrize("kind", NOT_JSON)
def test_a_file_that_is_no_datalist_is_named(tmp_path: Path, kind: str) -> None:
    content, sentence = NOT_JSON[kind]
    assert sentence in refusal(write(tmp_path, content))


STRUCTURES = {
    "no splits": ({}, "lists no eyes: it takes items in training, validation, test"),
    "empty": ({"training": [], "test": []}, "lists no eyes"),
    "object": ({"training": {"a": eye("a")}}, "training is an object of 1: it takes a list of items"),
    "text": ({"validation": "abc"}, "validation is 'abc': it takes a list of items"),
    "null": ({"training": [eye("a")], "test": None}, "test is None: it takes a list of items"),
    "texts": (
        {"training": [eye("a"), "b.png"]},
        "item 2 of training is 'b.png': each is an object with image, patient",
    ),
    "lists": ({"test": [["a.png"]]}, "item 1 of test is a list of 1"),
    "name": ({"name": ["a"], "training": [eye("a")]}, "name is a list of 1: give the data set's name as text"),
    "same key twice": (b'{"training": [], "training": []}', "names the key 'training' twice"),
    "key twice": (b'{"test": [{"image": "a", "image": "b"}]}', "item 1 of test names the key 'image' twice"),
    "key twice deep": (b'{"test": [{"x": [{"y": 1, "y": 2}]}]}', "item 1 of test names the key 'y' twice"),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_list_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    content, sentence = STRUCTURES[kind]
    assert sentence in refusal(write(tmp_path, content))


ITEMS = {
    "no image": ({"image": None, "vessel": None}, "has no image: each needs image and patient as text"),
    "no patient": ({"patient": None}, "has no patient: each needs image and patient as text"),
    "patient 7": ({"patient": 7}, "patient is 7: give it as text"),
    "patient blank": ({"patient": " "}, "patient is ' ': give it as text"),
    "image list": ({"image": ["a", "b"]}, "image is a list of 2: give it as text"),
    "vessel number": ({"vessel": 1.5}, "vessel is 1.5: give it as text"),
    "fov object": ({"fov": {}}, "fov is an object of 0: give it as text"),
    "disc empty": ({"disc": ""}, "disc is '': give it as text"),
    "name": ({"name": True}, "name is True: give it as text"),
    "dataset": ({"dataset": 0}, "dataset is 0: give it as text"),
    "NUL": ({"image": "a\0.png"}, r"image is 'a\x00.png', which cannot be a file name: correct the path"),
    "surrogate": ({"vessel": "\ud800"}, r"vessel is '\ud800', which cannot be a file name"),
    "laterality": ({"laterality": "left"}, "laterality is 'left': it takes L or R"),
    "laterality list": ({"laterality": ["L"]}, "laterality is a list of 1: it takes L or R"),
    "grade 5": ({"grade": 5}, "grade is 5: it takes a whole number from 0 to 4"),
    "grade text": ({"grade": "2"}, "grade is '2': it takes a whole number from 0 to 4"),
    "grade truth": ({"grade": True}, "grade is True: it takes a whole number from 0 to 4"),
    "grade fraction": ({"grade": 2.0}, "grade is 2.0: it takes a whole number"),
    "grade huge": ({"grade": 10**4000}, "grade is 1000"),
    "annotated text": ({"annotated": "disc"}, "annotated is 'disc': it takes a list of vessel, "),
    "annotated unknown": ({"annotated": ["disc", "drusen"]}, "annotated is a list of 2: it takes a list of vessel, "),
    "annotated nested": ({"annotated": [["disc"], {}]}, "annotated is a list of 2"),
    "NaN": ({"age": float("nan")}, "has the number nan, which JSON does not allow: write null"),
    "infinity": ({"more": [{"x": -float("inf")}]}, "has the number -inf, which JSON does not allow: write null"),
    "deep": ({"more": json.loads("[" * 40 + "]" * 40)}, "is nested more than 16 deep: make it flat"),
}


@pytest.mark.parametrize("kind", ITEMS)
def test_a_wrong_item_is_named_by_split_and_number(tmp_path: Path, kind: str) -> None:
    change, sentence = ITEMS[kind]
    found = refusal(write(tmp_path, {"training": [eye("a")], "validation": [eye("b"), eye("c", **change)]}))
    assert re.match(r"item 2 of validation\b", found) and sentence in found


def test_a_number_beyond_all_floats_is_refused(tmp_path: Path) -> None:
    content = b'{"training": [{"image": "a.png", "patient": "p", "age": 1e999}]}'
    assert refusal(write(tmp_path, content)).startswith("item 1 of training has the number inf")


@pytest.mark.parametrize("splits", [("training", "test"), ("training", "validation"), ("validation", "test")])
def test_a_patient_in_two_splits_is_named_with_both(tmp_path: Path, splits: tuple[str, str]) -> None:
    first, second = splits
    content = {first: [eye("a"), eye("b", patient="Ada")], second: [eye("c", patient="Ada")]}
    assert refusal(write(tmp_path, content)) == (
        f"patient 'Ada' is in {first} and in {second} (item 1 of {second}): give each patient to one split"
    )


def test_two_eyes_of_a_patient_in_one_split_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path, {"test": [eye("a", patient="Ada"), eye("b", patient="Ada")]})
    assert [item["patient"] for item in read_datalist_file(path)["test"]] == ["Ada", "Ada"]


@pytest.mark.parametrize("again", ["images/a.png", "./images/../images/a.png", "link.png"])
def test_one_photograph_twice_is_named_with_both_places(tmp_path: Path, again: str) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "images" / "a.png")
    path = write(tmp_path, {"training": [eye("a")], "test": [eye("b"), eye("c", image=again)]})
    assert refusal(path) == "item 1 of training and item 2 of test are one photograph: remove one of them"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.json") == "cannot be read (No such file or directory): give a datalist.json"
    assert refusal(tmp_path).startswith("cannot be read (Is a directory)")


def test_ten_thousand_repeated_keys_take_no_time(tmp_path: Path) -> None:
    keys = ", ".join(f'"{number}": 0' for number in [*range(20_000), 0])
    path = write(tmp_path, f'{{"training": [{{{keys}}}]}}'.encode())
    assert refusal(path) == "item 1 of training names the key '0' twice: leave one of them out"


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("train", "training"),
        ("Training", "training"),
        ("val", "validation"),
        ("valid", "validation"),
        ("testing", "test"),
    ],
)
def test_lists_under_the_names_of_other_frameworks(tmp_path: Path, key: str, split: str) -> None:
    rest = {"training": [eye("b")]} if split != "training" else {}
    found = read_datalist_file(write(tmp_path, {key: [eye("a")], "numTest": 2, "labels": {"0": "background"}} | rest))
    assert [item["name"] for item in found[split]] == ["a"]
    assert sum(map(len, found.values())) == 1 + len(rest)
    assert refusal(write(tmp_path, {key: [eye("a"), 3]} | rest)).startswith(f"item 2 of {key} is 3")


@pytest.mark.parametrize(
    "lists",
    [
        {"holdout": [eye("b")]},
        {"unlabeled": ["images/b.png"]},
        {"folds": {"0": [eye("b")]}},
    ],
)
def test_items_under_an_unknown_name_are_refused(tmp_path: Path, lists: dict[str, Any]) -> None:
    (key,) = lists
    assert refusal(write(tmp_path, {"training": [eye("a")]} | lists)).startswith(f"'{key}' is not the name of a split")


def test_two_lists_of_one_split_are_refused(tmp_path: Path) -> None:
    content = {"training": [eye("a")], "test": [eye("b")], "testing": [eye("c")]}
    assert refusal(write(tmp_path, content)).startswith("has both test and testing")


def test_texts_beside_the_lists_are_no_items_and_empty_lists_no_split(tmp_path: Path) -> None:
    content = {
        "authors": ["A. B.", "C. D."],
        "tensorImageSize": "2D",
        "training": [eye("a")],
        "test": [],
        "testing": [],
    }
    assert [len(items) for items in read_datalist_file(write(tmp_path, content)).values()] == [1, 0, 0]


def test_folds_are_named_as_unused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, {"training": [eye("a", fold=0), eye("b", fold=1)], "test": [eye("c")]})
    with caplog.at_level(logging.WARNING, "retina_monai"):
        read_datalist_file(path)
    assert caplog.messages == [f"{path}: fold of 2 items is ignored: list validation eyes under validation"]

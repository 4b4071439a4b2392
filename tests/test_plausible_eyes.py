"""Which eyes with segmented masks are left out, and why."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retina_monai.data import find_datalist
from retina_monai.data.files.writing import write_png
from scripts.plausible_eyes import main, map_faults

SIZE = 100
FOV = np.ones((SIZE, SIZE), bool)


def grid(every: int, width: int = 2) -> np.ndarray:
    """Connected lines that keep away from the border."""
    vessel = np.zeros((SIZE, SIZE), bool)
    for start in range(10, SIZE - 10, every):
        vessel[start : start + width, 10:90] = True
    vessel[10:90, 10 : 10 + width] = True
    return vessel


def with_border() -> np.ndarray:
    vessel = grid(20)
    vessel[0] = vessel[-1] = vessel[:, 0] = vessel[:, -1] = True
    return vessel


def dots() -> np.ndarray:
    vessel = np.zeros((SIZE, SIZE), bool)
    vessel[::6, ::6] = vessel[1::6, ::6] = True
    return vessel


@pytest.mark.parametrize(
    ("vessel", "probability", "faults"),
    [
        (grid(20), 0.9, []),
        (grid(20), 0.6, ["mean probability of vessels 0.60"]),
        (grid(40), 0.9, []),
        (grid(6), 0.9, ["vessel density 0.234"]),
        (with_border(), 0.9, ["34% of the vessels at the rim"]),
        (dots(), 0.9, ["100% of the vessels in fragments"]),
        (np.zeros_like(FOV), 0.9, ["no vessel"]),
    ],
)
def test_faults_of_a_map(vessel: np.ndarray, probability: float, faults: list[str]) -> None:
    assert map_faults(vessel, FOV, np.where(vessel, probability, 0.1)) == faults


def test_plausible_eyes_are_a_data_set_and_the_others_are_listed(tmp_path: Path) -> None:
    eyes: dict[str, dict[str, Any]] = {
        "good": {},
        "ungraded": {"grade": None},
        "severe": {"grade": 3},
        "hazy": {"confidence": 0.5},
        "broken": {"vessel": dots()},
    }
    items, lines = [], []
    for name, eye in eyes.items():
        vessel = eye.get("vessel", grid(20))
        pictures = {"image": ("images", np.full((3, SIZE, SIZE), 120)), "fov": ("fovs", FOV[None] * 255)}
        pictures |= {"vessel": ("vessels", vessel[None] * 255), "disc": ("discs", FOV[None] * 0)}
        for folder, picture in pictures.values():
            write_png(tmp_path / "labelled" / folder / f"{name}.png", picture.astype(np.uint8), synthetic=False)
        shades = (np.where(vessel, 230, 20)[None]).astype(np.uint8)
        write_png(tmp_path / "vessels" / "probabilities" / f"{name}.png", shades, synthetic=False)
        grade = {} if eye.get("grade", 0) is None else {"grade": eye.get("grade", 0)}
        paths = {kind: f"{folder}/{name}.png" for kind, (folder, _) in pictures.items()}
        items.append({"name": name, "patient": name, "dataset": "set", "vessel_by": "net", **grade, **paths})
        lines.append(items[-1] | {"confidence": eye.get("confidence", 0.97)})
    content = {"name": "found", "training": items[:3], "validation": [], "test": items[3:]}
    (tmp_path / "labelled" / "datalist.json").write_text(json.dumps(content))
    (tmp_path / "labelled" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(str(tmp_path), most_grade=1)
    found = find_datalist(tmp_path)
    assert [item["name"] for split in ("training", "validation", "test") for item in found[split]] == [
        "good",
        "ungraded",
    ]
    assert {item["vessel_by"] for item in found["training"]} == {"net"}
    with (tmp_path / "left_out.csv").open() as file:
        left_out = {row["name"]: (row["split"], row["reasons"]) for row in csv.DictReader(file)}
    assert left_out == {
        "severe": ("training", "grade 3"),
        "hazy": ("test", "disc confidence 0.50"),
        "broken": ("test", "100% of the vessels in fragments"),
    }

"""The report on segmented discs: figures by hand, tables and pictures, with and without annotated discs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from retina_monai.evaluation import DiscReport
from retina_monai.evaluation.cards.disc_report import SHOWN, disc_figures

SIZE = 120
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def circle(row: float, column: float, radius: float) -> np.ndarray:
    return (np.hypot(ROWS - row, COLUMNS - column) <= radius).astype(np.uint8)


def eye(name: str, found: np.ndarray, drawn: np.ndarray | None, dataset: str = "IDRiD") -> dict[str, Any]:
    masks = {"pred": found} | ({} if drawn is None else {"disc": drawn})
    pictures = {key: torch.from_numpy(mask[None]) for key, mask in masks.items()}
    pictures |= {"fov": torch.ones(1, SIZE, SIZE, dtype=torch.uint8), "photograph": torch.full((3, SIZE, SIZE), 90)}
    return {"dataset": dataset, "name": name, "patient": name, "confidence": 0.8, "side": "R", **pictures}


def report(folder: Path, *eyes: dict[str, Any]) -> SimpleNamespace:
    engine = SimpleNamespace(state=SimpleNamespace(output=list(eyes), metrics={}))
    written = DiscReport(folder, {"splits": ["test"]})
    written.collect(engine)
    written.write(engine)
    return engine.state


def test_figures_by_hand() -> None:
    figures = disc_figures(circle(50, 66, 10), circle(50, 60, 10))
    assert figures["distance"] == pytest.approx(6 / 20, rel=0.02)
    assert figures["width"] == pytest.approx(1)
    angle = 2 * np.arccos(6 / 20)
    assert figures["dice"] == pytest.approx((angle - np.sin(angle)) / np.pi, rel=0.03), "the lens of two circles"
    assert disc_figures(circle(50, 60, 5), circle(50, 60, 10))["width"] == pytest.approx(0.5, rel=0.05)


def test_a_disc_that_was_not_found_is_as_far_away_as_can_be() -> None:
    figures = disc_figures(np.zeros((SIZE, SIZE), np.uint8), circle(50, 60, 10))
    assert (figures["dice"], figures["width"]) == (0, 0) and figures["distance"] > 6


def test_eyes_without_a_drawn_disc_are_counted_and_shown(tmp_path: Path) -> None:
    nothing = np.zeros((SIZE, SIZE), np.uint8)
    eyes = [eye("a", circle(50, 60, 10), circle(50, 60, 10)), eye("b", nothing, circle(50, 60, 10))]
    eyes += [eye("c", circle(20, 110, 12), None, "HRF"), eye("d", nothing, None, "HRF")]
    state = report(tmp_path, *eyes)
    written = json.loads((tmp_path / "report.json").read_text())
    assert {(line["dataset"], line["metric"], line["N"]) for line in written["table"]} == {
        ("IDRiD", metric, 2) for metric in ("dice", "distance", "width")
    }
    assert state.metrics["IDRiD dice"] == pytest.approx(0.5)
    counts = ("dataset", "photographs", "with a disc", "compared", "near")
    assert [tuple(line[key] for key in counts) for line in written["found"]] == [
        ("IDRiD", 2, 1, 2, 1),
        ("HRF", 2, 1, 0, 0),
    ]
    assert "| HRF | 2 | 1 | 0 of 0 | 0.80 | 0.80 |" in (tmp_path / "table.md").read_text()
    with open(tmp_path / "eyes.csv", newline="") as file:
        assert [(row["name"], row["found"], row["dice"] == "") for row in csv.DictReader(file)] == [
            ("a", "1", False),
            ("b", "0", False),
            ("c", "1", True),
            ("d", "0", True),
        ]
    assert {path.name for path in state.pictures} == {"grid.png", "grid_IDRiD.png", "grid_HRF.png"}
    with Image.open(tmp_path / "grid_HRF.png") as picture:
        assert picture.width >= 3 * SHOWN and "SyntheticData" not in picture.info


def test_a_set_without_any_drawn_disc_has_counts_alone(tmp_path: Path) -> None:
    report(tmp_path, eye("c", circle(20, 110, 12), None, "HRF"))
    assert json.loads((tmp_path / "report.json").read_text())["table"] == []

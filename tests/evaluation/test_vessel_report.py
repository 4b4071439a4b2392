"""What is said of found vessels: figures by hand, tables and pictures."""

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

from retina_monai.evaluation import VesselReport
from retina_monai.evaluation.cards.vessel_report import BOTH, INVENTED, METRICS, MISSED, vessel_figures


def eye(name: str, patient: str, missed: int = 0, invented: int = 0, size: int = 40) -> dict[str, Any]:
    """A bar of 4 x 20 pixels that is a vessel, of which some columns are missed; and some columns that are none."""
    vessel, pred = torch.zeros(1, size, size, dtype=torch.uint8), torch.full((1, size, size), 0.2)
    vessel[:, 10:14, 10:30] = 1
    pred[:, 10:14, 10 + missed : 30] = 0.8
    pred[:, 20:24, 10 : 10 + invented] = 0.7
    fov = torch.ones(1, size, size, dtype=torch.uint8)
    photograph = torch.full((3, size, size), 100, dtype=torch.uint8)
    texts = {"dataset": "HRF", "name": name, "patient": patient}
    return texts | {"pred": pred, "vessel": vessel, "fov": fov, "photograph": photograph}


def report(folder: Path, *eyes: dict[str, Any]) -> SimpleNamespace:
    engine = SimpleNamespace(state=SimpleNamespace(output=list(eyes), metrics={}))
    written = VesselReport(folder, {"split": "test"})
    written.collect(engine)
    written.write(engine)
    return engine.state


def test_figures_by_hand() -> None:
    item = eye("a", "1", missed=5, invented=10)
    found = vessel_figures(*(item[key][None] for key in ("pred", "vessel", "fov")))
    tp, fn, fp, all_ = 60, 20, 40, 1600
    assert found["dice"] == pytest.approx(2 * tp / (2 * tp + fn + fp))
    assert found["sensitivity"] == pytest.approx(tp / 80)
    assert found["specificity"] == pytest.approx(1 - fp / (all_ - 80))
    assert found["accuracy"] == pytest.approx(1 - (fn + fp) / all_)
    background, ties = all_ - 80, all_ - 80 - fp
    assert found["auc"] == pytest.approx((tp * background + fn * 0.5 * ties) / (80 * background), abs=1e-5)


def test_nothing_outside_of_the_field_of_view_counts() -> None:
    item = eye("a", "1", invented=10)
    item["fov"][:, 20:24] = 0
    found = vessel_figures(*(item[key][None] for key in ("pred", "vessel", "fov")))
    assert found["dice"] == found["cldice"] == found["auc"] == 1


def test_tables_hold_means_over_eyes_and_intervals_over_patients(tmp_path: Path) -> None:
    eyes = [eye("a", "1"), eye("b", "1", missed=10), eye("c", "2", missed=5)]
    state = report(tmp_path, *eyes)
    written = json.loads((tmp_path / "report.json").read_text())
    line = next(line for line in written["table"] if line["metric"] == "sensitivity")
    assert (line["mean"], line["N"], line["patients"]) == (pytest.approx(0.75), 3, 2)
    assert line["low"] is line["high"] is None, "two patients have no interval"
    assert written["about"] == {"split": "test"}
    assert state.metrics["HRF sensitivity"] == pytest.approx(0.75)
    assert {line["metric"] for line in written["table"]} == set(METRICS)
    with (tmp_path / "eyes.csv").open() as file:
        assert [float(row["sensitivity"]) for row in csv.DictReader(file)] == pytest.approx([1, 0.5, 0.75])
    assert "| HRF | 3 (2 patients) |" in (tmp_path / "table.md").read_text()
    report(tmp_path / "more", *eyes, eye("d", "3", missed=2), eye("e", "4", missed=8))
    lines = json.loads((tmp_path / "more" / "report.json").read_text())["table"]
    line = next(line for line in lines if line["metric"] == "sensitivity")
    assert line["patients"] == 4 and 0.5 <= line["low"] < line["mean"] < line["high"] <= 1


def test_pictures_show_what_was_missed_and_what_was_invented(tmp_path: Path) -> None:
    state = report(tmp_path, eye("a", "1", missed=10, invented=10))
    assert [path.name for path in state.pictures] == ["grid.png", "grid_HRF.png"]
    with Image.open(tmp_path / "grid_HRF.png") as picture:
        assert "SyntheticData" not in picture.info
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    count = {tuple(map(int, colour)): int(n) for colour, n in zip(colours, counts, strict=True)}
    assert count[MISSED] == pytest.approx(count[INVENTED], rel=0.1) and count[MISSED] > 3000
    assert count[BOTH] > 3000

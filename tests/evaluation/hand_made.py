"""Sections as the families make them, made by hand, and the sets that they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.families import registry as families
from retina_monai.evaluation.families.registry import Task, Tools
from retina_monai.evaluation.report.section import Light, Picture, Section, Table

LIGHTS: dict[str, Light] = {
    "image": "amber",
    "distribution": "green",
    "faithfulness": "amber",
    "privacy": "red",
    "usefulness": "grey",
}
ANSWERS = {
    "image": "Inside the field of view the photographs reach 24.0 dB with the real colours and 18.4 dB without.",
    "distribution": "KID is 0.012 (95 % interval 0.008 to 0.016), 1.9 times what two halves of the real set differ by.",
    "faithfulness": "The judge finds 0.74 Dice of the vessels, against 0.80 on real eyes: thin ones are missing.",
    "privacy": "9 of 100 photographs are nearer to a training eye than any unseen eye is, and 2 of them are copies.",
    "usefulness": "Not judged: the vessel map of a test patient (CHASE_DB1/11) was a condition.",
}
COLUMNS = ("data set", "N", "KID", "low", "high", "FID", "precision", "recall", "density", "coverage")
HOSTILE = '<script>alert("x")</script> & "eyes" of <b>Müller</b>'


def made_section(key: str, folder: Path) -> Section:
    """With a wide table, one with gaps, a plot, a grid of photographs, notes, and names that would be markup."""
    rows: list[tuple[Any, ...]] = [
        (name, 12_345 + place, 0.0123456 * place, 0.01, None, 45.678, 0.75, 0.5, 1.25, 1.0)
        for place, name in enumerate(("CHASE_DB1", "HRF", HOSTILE, "a_name_without_any_place_to_break_it_" * 2))
    ]
    wide = Table(f"{key}, set by set", COLUMNS, rows, "N is the number of photographs.")
    gaps = Table("What was planted", ("copies", "caught"), [("exact", True), ("turned by 5 degrees", None)])
    (folder / "plot.png").write_bytes(plot())
    ramp = np.linspace(0, 255, 900, dtype=np.uint8)
    write_png(folder / "grid.png", np.stack([np.tile(row, (300, 1)) for row in (ramp, ramp // 2, 255 - ramp)]))
    return Section(
        key,
        f"Is the {key} right?",
        LIGHTS[key],
        ANSWERS[key],
        {"KID": {"retina_encoder 1.0": {"value": 0.012, "N": 28}}, "spectrum": [1.0, 0.5, 0.25], "infinite": np.inf},
        (wide, gaps),
        (Picture("Power", folder / "plot.png", "Lower is softer."), Picture("Nearest pairs", folder / "grid.png")),
        ("Figures of fewer than 100 photographs are rough.", HOSTILE),
    )


@cache
def plot() -> bytes:
    """As matplotlib writes it: most of an hand-made section's time would go into it."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for slope in (1, 2):
        axes.loglog(np.arange(1, 100), np.arange(1, 100) ** -float(slope), label=f"slope {slope}")
    axes.set(xlabel="frequency (cycles per pixel)", ylabel="power", title="power")
    axes.legend()
    FigureCanvasAgg(figure)
    content = BytesIO()
    figure.savefig(content, dpi=80)
    return content.getvalue()


def use_hand_made(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None] = lambda key: None) -> list[str]:
    """Let the families give hand-made sections, without weights; returns the list of those measured, as it grows."""
    measured: list[str] = []

    def measure(key: str) -> Callable[[Task, Path], Section]:
        def run(task: Task, folder: Path) -> Section:
            before(key)
            measured.append(key)
            return made_section(key, folder)

        return run

    for key, family in list(families.FAMILIES.items()):
        made = replace(family, measure=measure(key), depends=lambda task: {"seed": task.seed})
        monkeypatch.setitem(families.FAMILIES, key, made)
    monkeypatch.setattr(Tools, "judge", property(lambda tools: (None, "iternet_vessel 1.0")))
    monkeypatch.setattr(Tools, "extractors", property(lambda tools: {"retina_encoder 1.0": None}))
    return measured

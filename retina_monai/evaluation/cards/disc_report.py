"""Report on an optic disc segmentation network: figures at each photograph's own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.evaluation.cards.eye_report import EyeReport
from retina_monai.evaluation.report.tables import markdown_table, summarize, write_csv
from retina_monai.files import write_json, write_text
from retina_monai.metrics import dice
from retina_monai.transforms.field_of_view import crop_square, fov_box, resize_area

__all__ = ["DiscReport", "disc_figures"]

METRICS = ("dice", "distance", "width")
SHOWN = 320  # side of a picture in the grids, in pixels
NEAR = 2.0  # side of a close-up, in disc diameters
NEARBY = 0.25  # maximum distance of centres that are counted as near, in diameters of the annotated disc
CLOSEST = 0.2  # minimum side of a close-up, relative to the field of view
FOUND, DRAWN = (255, 255, 255), (0, 114, 178)  # the latter: Okabe and Ito 2008


class DiscReport(EyeReport):
    """Compare segmented with annotated discs, and write tables and pictures at the end of the evaluation.

    Writes ``table.md``, ``report.json``, ``eyes.csv``, ``grid.png`` (two eyes of each data set) and
    ``grid_<dataset>.png``. Means are over eyes with an annotated disc, 95 % intervals over patients. For each data set,
    the report also counts the photographs in which a disc was found, with or without an annotation, and those whose
    centre is within a quarter of a diameter of the annotated one.

    Args:
        output_dir: folder to write to.
        about: description of the evaluation (checkpoint, size, ...), copied into ``report.json``.
        shown: what the discs were found in, for the titles of the pictures.
    """

    def __init__(self, output_dir: str | Path, about: dict[str, Any] | None = None, shown: str = "photograph") -> None:
        super().__init__(output_dir, about)
        self.titles = (shown, "disc found (white), drawn (blue)", "the same, closer")

    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye.

        Args:
            item: ``pred``, ``fov`` and, if annotated, ``disc``, ``(1, H, W)`` in {0, 1}; ``photograph`` ``(3, H, W)``
                in [0, 255]; ``confidence``; and the texts ``side``, ``dataset``, ``name`` and ``patient``.
        """
        texts = {key: str(item[key]) for key in ("dataset", "name", "patient", "side")}
        drawn = item.get("disc")
        figures: dict[str, Any] = {} if drawn is None else disc_figures(item["pred"][0].numpy(), drawn[0].numpy())
        found = {"found": int(item["pred"].any()), "confidence": float(item["confidence"])}
        self.rows.append(texts | found | {name: figures.get(name, "") for name in METRICS})
        self.pictures.setdefault(texts["dataset"], []).append(_row(item))

    def write(self, engine: Any) -> None:
        """Write all files; set ``state.pictures`` to the pictures' paths and add the means to ``state.metrics``."""
        compared = [row for row in self.rows if row["dice"] != ""]
        table = summarize(compared, METRICS) if compared else []
        counted = _count(self.rows)
        write_text(self.output_dir / "table.md", "\n".join([markdown_table(table) if table else "", _counts(counted)]))
        write_csv(self.output_dir / "eyes.csv", self.rows)
        write_json(self.output_dir / "report.json", {"about": self.about, "table": table, "found": counted})
        engine.state.metrics |= {f"{line['dataset']} {line['metric']}": line["mean"] for line in table}
        engine.state.pictures = self.write_grids(synthetic=False)


def disc_figures(found: NDArray, drawn: NDArray) -> dict[str, float]:
    """Dice, distance of the centres and ratio of the diameters of two discs.

    The diameter of a disc is that of a circle with its area.

    Args:
        found: segmented disc ``(H, W)`` in {0, 1}.
        drawn: annotated disc in the same format, not empty.

    Returns:
        ``dice``; ``distance`` of the centres in diameters of the annotated disc; and ``width``, the ratio of the
        diameters. If no disc was found, ``dice`` and ``width`` are 0 and ``distance`` is the diagonal of the frame.
    """
    masks = (torch.from_numpy(np.asarray(mask) > 0)[None, None] for mask in (found, drawn))
    diameter = 2 * float(np.sqrt(np.count_nonzero(drawn) / np.pi))
    centre = np.array(ndimage.center_of_mass(drawn))
    overlap = float(dice(*masks))
    if not found.any():
        return {"dice": 0.0, "distance": float(np.hypot(*drawn.shape)) / diameter, "width": 0.0}
    return {
        "dice": overlap,
        "distance": float(np.hypot(*(np.array(ndimage.center_of_mass(found)) - centre))) / diameter,
        "width": 2 * float(np.sqrt(np.count_nonzero(found) / np.pi)) / diameter,
    }


def _count(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count the photographs and the discs found in each data set, and summarise the confidences."""
    sets: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        sets.setdefault(row["dataset"], []).append(row)
    return [
        {
            "dataset": name,
            "photographs": len(group),
            "with a disc": sum(row["found"] for row in group),
            "compared": sum(row["distance"] != "" for row in group),
            "near": sum(row["distance"] != "" and row["distance"] <= NEARBY for row in group),
            "least confidence": min(row["confidence"] for row in group),
            "median confidence": float(np.median([row["confidence"] for row in group])),
        }
        for name, group in sets.items()
    ]


def _counts(counted: list[dict[str, Any]]) -> str:
    titles = ["dataset", "photographs", "with a disc", "centre within a quarter of the diameter"]
    lines = [f"| {' | '.join(titles)} | least confidence | median confidence |", "|---|---|---|---|---|---|"]
    for line in counted:
        cells = [str(line[key]) for key in ("dataset", "photographs", "with a disc")]
        cells.append(f"{line['near']} of {line['compared']}")
        cells += [f"{line[key]:.2f}" for key in ("least confidence", "median confidence")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _row(item: dict[str, Any]) -> list[NDArray[np.uint8]]:
    """Photograph, photograph with outlines, and a close-up of the latter, each uint8 ``(3, SHOWN, SHOWN)``."""
    photograph, fov = item["photograph"].float().numpy(), item["fov"].numpy()
    masks = [(item["pred"].numpy(), FOUND)] + ([(item["disc"].numpy(), DRAWN)] if "disc" in item else [])
    whole = fov_box(fov)
    near = _around([mask for mask, _ in masks], whole)
    plain = resize_area(crop_square(photograph, whole), SHOWN)
    drawn = [_outlined(photograph, masks, box) for box in (whole, near)]
    return [np.clip(np.rint(part), 0, 255).astype(np.uint8) for part in (plain, *drawn)]


def _around(masks: list[NDArray], whole: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Box of a square around the masks, or the whole field of view if all are empty."""
    marked = np.any(masks, axis=0)
    if not marked.any():
        return whole
    top, left, bottom, right = fov_box(marked)
    side = max(bottom - top, right - left) * NEAR
    side = int(max(side, CLOSEST * max(whole[2] - whole[0], whole[3] - whole[1])))
    side = min(side, *marked.shape[1:])
    rows, columns = marked.shape[1:]
    top = int(np.clip((top + bottom - side) // 2, 0, rows - side))
    left = int(np.clip((left + right - side) // 2, 0, columns - side))
    return top, left, top + side, left + side


def _outlined(photograph: NDArray, masks: list[tuple[NDArray, Any]], box: tuple[int, int, int, int]) -> NDArray:
    shown = resize_area(crop_square(photograph, box), SHOWN)
    for mask, colour in masks:
        inside = resize_area(crop_square(mask.astype(np.float32), box), SHOWN)[0] >= 0.5
        line = ndimage.binary_dilation(inside) & ~inside
        shown = np.where(line, np.array(colour, np.float32)[:, None, None], shown)
    return shown

"""Report on a vessel segmentation network: figures at each photograph's own size, inside its field of view."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from retina_monai.evaluation.cards.eye_report import EyeReport
from retina_monai.evaluation.report.tables import markdown_table, summarize, write_csv
from retina_monai.files import write_json, write_text
from retina_monai.metrics import accuracy, cldice, dice, roc_auc, sensitivity, specificity
from retina_monai.transforms.field_of_view import crop_square, fov_box, resize_area

__all__ = ["VesselReport", "vessel_figures"]

THRESHOLD = 0.5
METRICS = ("dice", "auc", "cldice", "sensitivity", "specificity", "accuracy")
SHOWN = 384  # side of a picture in the grids, in pixels
TITLES = ("photograph", "vessels drawn", "vessels found", "both, missed, invented")
BOTH, MISSED, INVENTED = (255, 255, 255), (230, 159, 0), (0, 114, 178)  # last two: Okabe and Ito 2008


class VesselReport(EyeReport):
    """Compare segmented with annotated vessels, and write tables and pictures at the end of the evaluation.

    Writes ``table.md``, ``report.json``, ``eyes.csv``, ``grid.png`` (two eyes of each data set) and
    ``grid_<dataset>.png``. Means are over eyes, 95 % intervals over patients.

    Args:
        output_dir: folder to write to.
        about: description of the evaluation (checkpoint, size, ...), copied into ``report.json``.
    """

    titles = TITLES

    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye.

        Args:
            item: ``pred`` (probabilities), ``vessel`` and ``fov`` ``(1, H, W)``, ``photograph`` ``(3, H, W)`` in
                [0, 255], and the texts ``dataset``, ``name`` and ``patient``.
        """
        texts = {key: str(item[key]) for key in ("dataset", "name", "patient")}
        self.rows.append(texts | vessel_figures(item["pred"][None], item["vessel"][None], item["fov"][None]))
        self.pictures.setdefault(texts["dataset"], []).append(_row(item))

    def write(self, engine: Any) -> None:
        """Write all files; set ``state.pictures`` to the pictures' paths and add the means to ``state.metrics``."""
        table = summarize(self.rows, METRICS)
        write_text(self.output_dir / "table.md", markdown_table(table))
        write_csv(self.output_dir / "eyes.csv", self.rows)
        write_json(self.output_dir / "report.json", {"about": self.about, "table": table})
        engine.state.metrics |= {f"{line['dataset']} {line['metric']}": line["mean"] for line in table}
        engine.state.pictures = self.write_grids(synthetic=False)


def vessel_figures(pred: Tensor, vessel: Tensor, fov: Tensor) -> dict[str, float]:
    """Dice, AUC, clDice, sensitivity, specificity and accuracy of one eye inside its field of view.

    Args:
        pred: probabilities ``(1, 1, H, W)``, thresholded at 0.5.
        vessel, fov: ``(1, 1, H, W)`` in {0, 1}.
    """
    binary = pred >= THRESHOLD
    measures = {
        "dice": dice,
        "cldice": cldice,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": accuracy,
    }
    figures = {name: float(measure(binary, vessel, fov)) for name, measure in measures.items()}
    return figures | {"auc": float(roc_auc(pred, vessel, fov))}


def _row(item: dict[str, Any]) -> list[np.ndarray]:
    """Photograph, annotation, prediction and overlay, cropped to the field of view, uint8 ``(3, SHOWN, SHOWN)``."""
    box = fov_box(item["fov"].numpy())
    shown = {key: item[key].float().numpy() for key in ("photograph", "vessel", "pred")}
    photograph, drawn, found = (resize_area(crop_square(part, box), SHOWN) for part in shown.values())
    light = np.clip(np.rint(photograph), 0, 255)
    maps = [np.repeat(255 * part, 3, axis=0) for part in (drawn, found)]
    return [part.astype(np.uint8) for part in (light, *maps, _overlay(light, drawn >= THRESHOLD, found >= THRESHOLD))]


def _overlay(light: np.ndarray, drawn: np.ndarray, found: np.ndarray) -> np.ndarray:
    grey = np.repeat(light[1:2] / 2, 3, axis=0)
    for where, colour in ((drawn & found, BOTH), (drawn & ~found, MISSED), (~drawn & found, INVENTED)):
        grey = np.where(where, np.array(colour, np.float32)[:, None, None], grey)
    return np.asarray(grey)

"""Report on a network that colours vessel maps: figures on vessels, since most of the picture is black."""

from __future__ import annotations

from typing import Any

import torch

from retina_monai.evaluation.cards.eye_report import EyeReport
from retina_monai.evaluation.report.tables import markdown_table, summarize, write_csv
from retina_monai.files import write_json, write_text
from retina_monai.handlers import to_uint8
from retina_monai.metrics import mae, psnr, ssim

__all__ = ["ColorVesselReport"]

RANGE = 2.0
METRICS = tuple(f"{name}_{part}" for part in ("vessel", "fov") for name in ("l1", "psnr", "ssim"))


class ColorVesselReport(EyeReport):
    """Compare generated with real colour vessel masks, and write tables and pictures at the end of the evaluation.

    Writes ``table.md``, ``report.json``, ``eyes.csv``, ``grid.png`` (two eyes of each data set) and
    ``grid_<dataset>.png``. L1 is on the [-1, 1] scale. PSNR and SSIM have a data range of 2. Each is measured on vessel
    pixels and inside the field of view. Means are over eyes, 95 % intervals over patients.

    Args:
        output_dir, about: as for :class:`EyeReport`.
    """

    titles = ("vessel map", "generated", "real", "photograph")

    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye.

        Args:
            item: ``pred``, ``color_vessel``, ``image`` ``(3, H, W)`` and ``vessel`` ``(1, H, W)`` in [-1, 1],
                ``vessel_map`` and ``fov`` ``(1, H, W)`` in {0, 1}, and the texts ``dataset``, ``name`` and ``patient``.
        """
        texts = {key: str(item[key]) for key in ("dataset", "name", "patient")}
        pred, real = item["pred"][None].float(), item["color_vessel"][None]
        figures: dict[str, float] = {}
        for part, mask in (("vessel", item["vessel_map"] * item["fov"]), ("fov", item["fov"])):
            inside = mask[None].to(torch.float32)
            figures[f"l1_{part}"] = mae(pred, real, inside).item()
            figures[f"psnr_{part}"] = psnr(pred, real, RANGE, inside).item()
            figures[f"ssim_{part}"] = ssim(pred, real, RANGE, inside).item()
        self.rows.append(texts | figures)
        row = [to_uint8(item[key]) for key in ("vessel", "pred", "color_vessel", "image")]
        self.pictures.setdefault(texts["dataset"], []).append(row)

    def write(self, engine: Any) -> None:
        """Write all files; set ``state.pictures`` to the pictures' paths and add the means to ``state.metrics``."""
        table = summarize(self.rows, METRICS)
        write_text(self.output_dir / "table.md", markdown_table(table))
        write_csv(self.output_dir / "eyes.csv", self.rows)
        write_json(self.output_dir / "report.json", {"about": self.about, "table": table})
        engine.state.metrics |= {f"{line['dataset']} {line['metric']}": line["mean"] for line in table}
        engine.state.pictures = self.write_grids()

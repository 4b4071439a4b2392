"""Report on a generator of photographs: paired quality under each appearance protocol, and power spectra.

Figures are measured without texture, which is random and agrees with no other photograph pixel by pixel. In the
pictures, only the column with the camera's average has texture, like all written photographs.

The appearance consists of six numbers that no vessel map determines, and is worth 4 to 5 dB. The protocols set it
before photographs are compared:

- ``given``: the appearance of the real photograph;
- ``camera``: the average appearance of the training eyes of the same camera (data set);
- ``average``: the average appearance of all training eyes;
- ``drawn``: the appearance of one random training eye of that camera.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from retina_monai.data.sets.appearances import Appearances
from retina_monai.evaluation.cards.eye_report import EyeReport
from retina_monai.evaluation.families.image.spectral_ratio import describe_ratio
from retina_monai.evaluation.report.plots import plot_spectrum
from retina_monai.evaluation.report.tables import markdown_table, summarize, write_csv
from retina_monai.files import write_json, write_text
from retina_monai.group import gather_lists
from retina_monai.handlers import to_uint8
from retina_monai.metrics import frequencies, mse, psnr, radial_power_spectrum, ssim
from retina_monai.seeds import texture_generator
from retina_monai.transforms import Appearance, apply_appearance, measure_appearance, render_appearance

__all__ = ["PhotographReport"]

RANGE = 2.0
SIDES = ("generated", "real")
_SPECTRUM = "power inside the field of view, generated / real, from {lowest:.2f} to {highest:.2f}"
PROTOCOLS = ("given", "camera", "average", "drawn")
METRICS = ("mse", "psnr", "ssim", "mse_fov", "psnr_fov", "ssim_fov")


class PhotographReport(EyeReport):
    """Compare generated with real photographs, and write tables, spectra and pictures at the end of the evaluation.

    Writes ``table.md``, ``report.json``, ``eyes.csv``, ``grid.png`` (two eyes of each data set), ``grid_<dataset>.png``
    and ``spectrum_<dataset>.png``. MSE is on the [-1, 1] scale. PSNR and SSIM have a data range of 2. Averages are over
    images, intervals over patients.

    Args:
        output_dir: folder to write to.
        appearances: appearances of the training eyes.
        seed: seed of the drawn appearance and of the texture in pictures.
        about: description of the evaluation (checkpoint, resolution, ...), copied into ``report.json``.
    """

    titles = ("vessel map", "colours given", "camera's average", "real")

    def __init__(
        self,
        output_dir: str | Path,
        appearances: Appearances,
        seed: int = 0,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(output_dir, about)
        self.appearances = appearances
        self.seed = seed
        self.spectra: dict[str, dict[str, list[np.ndarray]]] = {}

    def start(self, engine: Any) -> None:
        super().start(engine)
        self.spectra = {}

    def add(self, item: dict[str, Any]) -> None:
        """Measure one eye.

        Args:
            item: ``generated``, ``photograph`` and ``vessel`` ``(C, H, W)`` in [-1, 1], ``fov`` ``(1, H, W)``, and the
                texts ``dataset``, ``name`` and ``patient``.
        """
        real, fov = item["photograph"].float(), item["fov"].float()
        shown = [to_uint8(item["vessel"])]
        random = texture_generator(self.seed, self._number())
        for protocol, appearance in self._appearances(item).items():
            pred = apply_appearance(item["generated"].float(), fov, appearance)
            texts = {key: item[key] for key in ("dataset", "name", "patient")}
            self.rows.append({**texts, "appearance": protocol, **_figures(pred, real, fov)})
            if protocol == "camera":
                textured = render_appearance(item["generated"].float(), fov, item["vessel"] >= 0, appearance, random)
                shown.append(to_uint8(textured))
            if protocol == "given":
                shown.append(to_uint8(pred))
                self._add_spectra(item["dataset"], pred, real, fov)
        self.pictures.setdefault(item["dataset"], []).append([*shown, to_uint8(real)])

    def write(self, engine: Any) -> None:
        """Write all files, and set ``state.pictures`` to the paths of the pictures."""
        table = summarize(self.rows, METRICS, by=("dataset", "appearance"))
        spectra = {dataset: self._write_spectrum(dataset) for dataset in self.spectra}
        lines = [f"- {name}: {_SPECTRUM.format(**spectrum)}" for name, spectrum in spectra.items()]
        write_text(self.output_dir / "table.md", "\n".join([markdown_table(table), "", *lines, ""]))
        write_csv(self.output_dir / "eyes.csv", self.rows)
        write_json(self.output_dir / "report.json", {"about": self.about, "table": table, "spectrum": spectra})
        drawn = [self.output_dir / f"spectrum_{dataset}.png" for dataset in self.spectra]
        engine.state.pictures = [*drawn, *self.write_grids()]

    def _appearances(self, item: dict[str, Any]) -> dict[str, Appearance]:
        camera = item["dataset"] if item["dataset"] in self.appearances.cameras else None
        appearances = (
            measure_appearance(item["photograph"], item["fov"]),
            self.appearances.average(camera),
            self.appearances.average(),
            self.appearances.drawn(self.seed, self._number(), camera),
        )
        return dict(zip(PROTOCOLS, appearances, strict=True))

    def _number(self) -> int:
        """Index of the next row over all ranks. Together with the seed, it determines an eye's random draws."""
        return len(PROTOCOLS) * self.before + len(self.rows)

    def gather(self) -> None:
        super().gather()
        generated, real = (
            gather_lists({dataset: kept[side] for dataset, kept in self.spectra.items()}) for side in SIDES
        )
        self.spectra = {dataset: dict(zip(SIDES, (generated[dataset], real[dataset]), strict=True)) for dataset in real}

    def _add_spectra(self, dataset: str, pred: Tensor, real: Tensor, fov: Tensor) -> None:
        kept = self.spectra.setdefault(dataset, {side: [] for side in SIDES})
        for label, picture in zip(SIDES, (pred, real), strict=True):
            kept[label].append(radial_power_spectrum(picture[None], fov[None])[0].cpu().numpy())

    def _write_spectrum(self, dataset: str) -> dict[str, Any]:
        means = {label: np.mean(spectra, axis=0) for label, spectra in self.spectra[dataset].items()}
        rings = frequencies(2 * len(means["real"])).numpy()
        path = self.output_dir / f"spectrum_{dataset}.png"
        plot_spectrum(rings, means, path)
        ratio = means["generated"] / means["real"]
        return {**describe_ratio(ratio), "ratio": ratio.round(4).tolist()}


def _figures(pred: Tensor, real: Tensor, fov: Tensor) -> dict[str, float]:
    pred, real, inside = pred[None], real[None], fov[None]
    figures: dict[str, float] = {}
    for suffix, mask in (("", None), ("_fov", inside)):
        figures[f"mse{suffix}"] = mse(pred, real, mask).item()
        figures[f"psnr{suffix}"] = psnr(pred, real, RANGE, mask).item()
        figures[f"ssim{suffix}"] = ssim(pred, real, RANGE, mask).item()
    return figures

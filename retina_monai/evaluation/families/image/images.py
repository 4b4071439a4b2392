"""Image quality of pairs of a synthetic photograph and the real one of the same vessel map, inside the field of view.

A vessel map does not determine the colours, the lesions or the background of a photograph. Each pair is therefore
compared twice: unchanged, and after the synthetic photograph got the colours of the real one. For comparison, another
real eye of the same data set is measured with the same colours, which shows how similar two photographs of one camera
are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from torch import Tensor

from retina_monai.data.files.writing import write_png
from retina_monai.errors import counted
from retina_monai.evaluation.families.distribution.distribution_plots import REAL, SYNTHETIC, WIDTH
from retina_monai.evaluation.families.distribution.overview import NO_POWER
from retina_monai.evaluation.families.image.spectral_ratio import BAND, describe_ratio
from retina_monai.evaluation.measuring.eye import Eye, Eyes, as_image, as_mask
from retina_monai.evaluation.report.plots import image_grid, plot_spectrum
from retina_monai.evaluation.report.section import Light, Picture, Section, Table
from retina_monai.evaluation.report.tables import FEWEST, Interval, bootstrap_interval
from retina_monai.files import replacing
from retina_monai.metrics import cosine_similarity, frequencies, ms_ssim, mse, psnr, radial_power_spectrum, ssim
from retina_monai.metrics.image_quality import MS_WEIGHTS, WINDOW
from retina_monai.progress import progress
from retina_monai.transforms import apply_appearance, measure_appearance

__all__ = ["image_section"]

RANGE = 2.0
"""Of values in [-1, 1]."""
COARSE = 1 / 32
"""Standard deviation, in sides of the picture, of the blur that is subtracted before correlation. This removes shading
and keeps vessels and lesions."""
FLAT = 1e-6
MOST = 100.0
"""PSNR in dB of equal pictures, so that means stay finite."""
SHOWN = 3
"""Pairs in the picture: the least similar, the median and the most similar."""
QUESTION = "Is each photograph like the real one of the same vessel map?"
METRICS = ("mse", "psnr", "ssim", "ms_ssim", "cosine_similarity", "correlation")
TITLES = {
    "mse": "MSE",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "cosine_similarity": "cosine",
    "correlation": "correlation of detail",
}
AS_IS, MATCHED, OTHER = "as it is", "colours matched", "another real eye, colours matched"

Row = dict[str, Any]
Spectra = dict[tuple[str, str], np.ndarray]
"""Data set and comparison -> power summed over pairs, ``(2, rings)``: compared photographs, real photographs."""


@dataclass(frozen=True)
class Pair:
    """Indices of a synthetic eye, of the real eye from which it was made, and of another real eye of that data set."""

    synthetic: int
    real: int
    other: int | None


def image_section(synthetic: Eyes, real: Eyes, *, output_dir: Path) -> Section:
    """Compare synthetic photographs with the real ones of the same vessel maps.

    A pair is a synthetic eye made from the unaltered map of an eye of the real set. Metrics are those of
    :mod:`retina_monai.metrics.image_quality` inside the field of view, on the [-1, 1] scale. MS-SSIM uses as many of
    its five scales as the size allows. The light is green if, by an interval over patients, pairs are more similar than
    two real eyes of one data set. Similarity is the correlation of detail. SSIM is not suitable, since by SSIM a smooth
    picture is more similar to any eye than another eye is.

    Args:
        synthetic: eyes, read once, and a few of them again for the picture.
        real: eyes, read once, and those of pairs again.
        output_dir: folder for the pictures.

    Returns:
        The section ``image``; grey if there are no pairs.

    Raises:
        RetinaError: a picture cannot be written.
    """
    pairs = find_pairs(synthetic, real)
    if not pairs:
        reason = "Not judged: no synthetic photograph was made from an unaltered vessel map of the real set."
        return Section("image", QUESTION, "grey", reason, {"pairs": 0})
    rows, spectra, copies = _measure(pairs, synthetic, real)
    if not rows:
        answer = f"All {copies} pairs are identical photographs: nothing was generated."
        return Section("image", QUESTION, "red", answer, {"pairs": len(pairs), "identical_to_real": copies})
    gain = _gain(rows)
    light, answer = _judge(rows, gain, copies)
    figures = {
        "pairs": len(pairs),
        "identical_to_real": copies,
        "gain_of_correlation": None if gain is None else gain._asdict(),
        "by_dataset": _summary(rows),
        "spectrum": _spectral_figures(spectra),
    }
    paths = {name: output_dir / f"{name}.png" for name in ("similarity", "spectrum", "pairs")}
    _plot(rows, paths["similarity"])
    size = real[pairs[0].real].image.shape[-1]
    synthetic_power, real_power = np.sum([power for (_, kind), power in spectra.items() if kind == AS_IS], axis=0)
    plot_spectrum(frequencies(size).numpy(), {"real": real_power, "synthetic": synthetic_power}, paths["spectrum"])
    _draw_pairs(rows, synthetic, real, paths["pairs"])
    pictures = [
        Picture("Similarity of the pairs", paths["similarity"], "Orange should lie to the right of blue."),
        Picture("Power spectrum of the pairs", paths["spectrum"], "Below 1 on the right: too smooth."),
        Picture("The least similar, the median and the most similar pair", paths["pairs"], "By correlation of detail."),
    ]
    return Section(
        "image", QUESTION, light, answer, figures, [_table(rows, spectra)], pictures, _notes(rows, copies, size)
    )


def find_pairs(synthetic: Eyes, real: Eyes) -> list[Pair]:
    """Pairs of a synthetic and a real eye of one vessel map, with another patient's eye of the same data set."""
    places: dict[tuple[str, str], int] = {}
    others: dict[str, list[tuple[str, int]]] = {}
    datasets: list[str] = []
    for place, eye in enumerate(progress(real, "image: real photographs")):
        places[eye.patient, eye.name] = place
        others.setdefault(eye.dataset, []).append((eye.patient, place))
        datasets.append(eye.dataset)
    pairs = []
    for place, eye in enumerate(progress(synthetic, "image: looking for pairs")):
        condition = eye.condition
        if condition is None or condition.augmented:
            continue
        match = places.get((condition.patient, condition.name))
        if match is not None:
            pairs.append(Pair(place, match, _other(others[datasets[match]], condition.patient, match)))
    return pairs


def _other(eyes: Sequence[tuple[str, int]], patient: str, place: int) -> int | None:
    """The next eye of another patient after ``place``, or the first."""
    strangers = [other for whose, other in eyes if whose != patient]
    return next((other for other in strangers if other > place), strangers[0] if strangers else None)


def _measure(pairs: Sequence[Pair], synthetic: Eyes, real: Eyes) -> tuple[list[Row], Spectra, int]:
    """A row per pair and comparison, the spectra, and the number of identical pairs."""
    rows: list[Row] = []
    spectra: Spectra = {}
    copies = 0
    for pair in progress(pairs, "image: comparing", "pair"):
        synthetic_eye, real_eye = synthetic[pair.synthetic], real[pair.real]
        inside = synthetic_eye.fov & real_eye.fov
        if np.array_equal(synthetic_eye.image[:, inside], real_eye.image[:, inside]):
            copies += 1
            continue
        about = {"dataset": real_eye.dataset, "patient": real_eye.patient, "name": synthetic_eye.name, "pair": pair}
        other = None if pair.other is None else real[pair.other]
        for kind, (pred, fov) in _compared(synthetic_eye, real_eye, other).items():
            rows.append({**about, "kind": kind, **_figures(pred, as_image(real_eye), fov)})
            power = np.stack([_spectrum(pred, fov), _spectrum(as_image(real_eye), fov)])
            spectra[real_eye.dataset, kind] = spectra.get((real_eye.dataset, kind), 0) + power
    return rows, spectra, copies


def _compared(synthetic_eye: Eye, real_eye: Eye, other: Eye | None) -> dict[str, tuple[Tensor, Tensor]]:
    """Photographs to compare with a real one, with the common field of view."""
    fov = as_mask(synthetic_eye.fov & real_eye.fov)
    found = {AS_IS: (as_image(synthetic_eye), fov), MATCHED: (_matched(synthetic_eye, real_eye, fov), fov)}
    if other is not None and (both := other.fov & real_eye.fov).any():
        found[OTHER] = (_matched(other, real_eye, as_mask(both)), as_mask(both))
    return found


def _matched(eye: Eye, like: Eye, fov: Tensor) -> Tensor:
    appearance = measure_appearance(as_image(like)[0], fov[0])
    return apply_appearance(as_image(eye), fov, appearance)


def _figures(pred: Tensor, target: Tensor, fov: Tensor) -> dict[str, float]:
    measures: dict[str, Callable[..., Tensor]] = {
        "mse": mse,
        "psnr": partial(psnr, data_range=RANGE),
        "ssim": partial(ssim, data_range=RANGE),
        "ms_ssim": partial(ms_ssim, data_range=RANGE, weights=MS_WEIGHTS[: _scales(pred.shape[-1])]),
        "cosine_similarity": cosine_similarity,
    }
    figures = {name: float(measure(pred, target, fov=fov)) for name, measure in measures.items()}
    cosine = figures["cosine_similarity"]
    figures |= {"psnr": min(figures["psnr"], MOST), "cosine_similarity": 0.0 if np.isnan(cosine) else cosine}
    return figures | {"correlation": _correlation(pred, target, fov)}


def _correlation(pred: Tensor, target: Tensor, fov: Tensor) -> float:
    """Pearson correlation of detail finer than :data:`COARSE` inside the field of view; 0 if a picture is flat.

    Unlike SSIM, it does not reward a picture without detail, and colours do not affect it.
    """
    inside = fov[0, 0].numpy() > 0
    one, other = (_detail(picture[0].mean(0).numpy(), inside)[inside] for picture in (pred, target))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / scale) if scale > FLAT else 0.0


def _detail(grey: np.ndarray, inside: np.ndarray) -> np.ndarray:
    sigma = len(grey) * COARSE
    share = gaussian_filter(inside.astype(np.float32), sigma)
    detail: np.ndarray = grey - gaussian_filter(grey * inside, sigma) / np.maximum(share, FLAT)
    return detail


def _scales(size: int) -> int:
    """Number of MS-SSIM scales for a picture of this size."""
    return max(scales for scales in range(1, len(MS_WEIGHTS) + 1) if scales == 1 or size >= WINDOW * 2 ** (scales - 1))


def _spectrum(image: Tensor, fov: Tensor) -> np.ndarray:
    spectrum: np.ndarray = radial_power_spectrum(image, fov)[0].double().numpy()
    return np.maximum(spectrum, NO_POWER)


def _spectral_figures(spectra: Spectra) -> dict[str, dict[str, dict[str, float]]]:
    """Data set -> comparison -> summary of the mean spectrum relative to the real one."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (dataset, kind), (compared, real_power) in spectra.items():
        found.setdefault(dataset, {})[kind] = describe_ratio(compared / real_power)
    return found


def _gain(rows: Sequence[Row]) -> Interval | None:
    """Correlation of pairs minus that of another real eye, with an interval over patients; ``None`` below FEWEST."""
    others = {row["pair"].synthetic: row["correlation"] for row in rows if row["kind"] == OTHER}
    matched = [row for row in rows if row["kind"] == MATCHED and row["pair"].synthetic in others]
    patients = [row["patient"] for row in matched]
    if len(set(patients)) < FEWEST:
        return None
    gains = [row["correlation"] - others[row["pair"].synthetic] for row in matched]
    return bootstrap_interval(gains, groups=patients)


def _judge(rows: Sequence[Row], gain: Interval | None, copies: int) -> tuple[Light, str]:
    pairs = [row for row in rows if row["kind"] == MATCHED]
    means = {kind: np.mean([row["psnr"] for row in rows if row["kind"] == kind]) for kind in (AS_IS, MATCHED)}
    ssims, correlations = ([row[name] for row in pairs] for name in ("ssim", "correlation"))
    answer = (
        f"{counted(len(pairs), 'photograph', 'reaches', 'reach')} a PSNR of {means[AS_IS]:.1f} dB, or "
        f"{means[MATCHED]:.1f} dB with the colours of the real one, an SSIM of {np.mean(ssims):.3f} and a correlation "
        f"of detail of {np.mean(correlations):.2f}."
    )
    if copies:
        more = "is a real photograph" if copies == 1 else "are real photographs"
        return "red", f"{answer} {copies} more {more}, identical in every pixel."
    if gain is None:
        return "grey", f"{answer} Not judged: this needs pairs of {FEWEST} patients."
    apart = f"{abs(gain.mean):.3f} (95 % interval of the difference {gain.low:.3f} to {gain.high:.3f})"
    if gain.low > 0:
        return (
            "green",
            f"{answer} Their correlation with their own eye exceeds that of another real eye by {apart}.",
        )
    if gain.mean > 0:
        return (
            "amber",
            f"{answer} Their correlation with their own eye hardly exceeds that of another real eye, by {apart}.",
        )
    return (
        "red",
        f"{answer} Their correlation with their own eye does not exceed that of another real eye: it is {apart} lower.",
    )


def _summary(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """Data set -> comparison -> metric -> mean with its interval."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for kind in (AS_IS, MATCHED, OTHER):
            own = [row for row in rows if row["dataset"] == dataset and row["kind"] == kind]
            patients = [row["patient"] for row in own]
            if own:
                found.setdefault(dataset, {})[kind] = {
                    name: bootstrap_interval([row[name] for row in own], groups=patients)._asdict() for name in METRICS
                }
    return found


def _table(rows: Sequence[Row], spectra: Spectra) -> Table:
    spectral = _spectral_figures(spectra)
    cells: list[list[str | float | None]] = []
    for dataset, kinds in _summary(rows).items():
        for kind, metrics in kinds.items():
            count = metrics["mse"]["N"]
            rings = f"{spectral[dataset][kind]['within']:.0%}"
            cells.append([dataset, kind, count, *(_with_interval(metrics[name]) for name in METRICS), rings])
    columns = ("data set", "comparison", "pairs", *TITLES.values(), f"rings within {BAND:.0%}")
    note = (
        "Inside the field of view, on the [-1, 1] scale. Means over pairs, 95 % intervals over patients. Rings: share "
        "of frequency rings at which the mean power is that near the real one."
    )
    return Table("Synthetic photographs and the real ones of the same vessel maps", columns, cells, note)


def _with_interval(figure: Mapping[str, Any]) -> str:
    mean, low, high = figure["mean"], figure["low"], figure["high"]
    digits = 1 if abs(mean) >= 10 else 3
    return f"{mean:.{digits}f}" + ("" if np.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})")


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Correlation of each pair and of another real eye, by data set."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.9 * len(datasets)), layout="constrained")
    axes = figure.subplots()
    for kind, colour, marker, shift in ((OTHER, REAL, "o", 0.15), (MATCHED, SYNTHETIC, "x", -0.15)):
        own = [row for row in rows if row["kind"] == kind]
        heights = [datasets.index(row["dataset"]) + shift for row in own]
        axes.scatter([row["correlation"] for row in own], heights, color=colour, marker=marker, alpha=0.7, label=kind)
    axes.set_yticks(range(len(datasets)), datasets)
    axes.set(xlabel="correlation of detail with the real photograph", ylim=(-0.6, len(datasets) - 0.4))
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")


def _draw_pairs(rows: Sequence[Row], synthetic: Eyes, real: Eyes, path: Path) -> None:
    ranked = sorted((row for row in rows if row["kind"] == MATCHED), key=lambda row: float(row["correlation"]))
    chosen = [ranked[place] for place in sorted({0, len(ranked) // 2, len(ranked) - 1})][:SHOWN]
    pictures = []
    for row in chosen:
        synthetic_eye, real_eye = synthetic[row["pair"].synthetic], real[row["pair"].real]
        matched = _matched(synthetic_eye, real_eye, as_mask(synthetic_eye.fov & real_eye.fov))[0]
        shown = torch.round((matched + 1) * 127.5).to(torch.uint8).numpy()
        pictures.append([synthetic_eye.image, shown, real_eye.image])
    write_png(path, image_grid(pictures, ["synthetic", "colours matched", "real"]))


def _notes(rows: Sequence[Row], copies: int, size: int) -> list[str]:
    notes = [
        "A vessel map does not determine the colours, lesions and background of an eye. No generator can reproduce the "
        "real photograph unless it has memorised it.",
        f"MS-SSIM uses {_scales(size)} of its {len(MS_WEIGHTS)} scales at {size} px.",
    ]
    if copies:
        pairs = counted(copies, "identical pair", "is", "are")
        notes.append(f"{pairs} not part of the means.")
    if not any(row["kind"] == OTHER for row in rows):
        notes.append("No data set has a second patient, so there is no other real eye for comparison.")
    return notes

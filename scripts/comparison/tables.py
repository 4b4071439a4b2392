"""One table per question, with one row per data set and method, and a row for real photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from comparison.figures import (
    FAITHFUL,
    LIKE,
    LIKE_AS_IS,
    LIKE_OTHER,
    Figure,
    Results,
    branches,
    distribution,
    passed,
    spectrum,
)
from comparison.methods import DATASETS, METHODS
from retina_monai.evaluation.families.image.images import OTHER

All = Mapping[str, Results]
REAL = "real photographs"


def faithfulness(results: All) -> str:
    """Agreement of the judge, with that on real photographs."""
    lines = []
    for dataset in DATASETS:
        for title, found in titled(results):
            cells = [with_interval(measure.of(found, dataset), measure.form) for measure in FAITHFUL]
            lines.append([f"{dataset}, {eyes(found, dataset)}", title, *cells])
        real = [measure.ceiling(first(results), dataset)[0] for measure in FAITHFUL if measure.ceiling]
        cells = [with_interval(figure, measure.form) for figure, measure in zip(real, FAITHFUL, strict=True)]
        lines.append([dataset, REAL, *cells])
    return markdown(["test eyes", "photographs", *(measure.title for measure in FAITHFUL)], lines)


def sensitivity(results: All) -> str:
    """Result of removing branches."""
    lines = []
    for dataset in DATASETS:
        for title, found in titled(results):
            line = branches(found, dataset)
            shares = [share(line[key]) for key in ("shown", "gone", "nothing_else")]
            classes = [share(branches(found, dataset, calibre).get("passed")) for calibre in ("thin", "medium", "wide")]
            alone = with_interval(passed(found, dataset), ".0%")
            lines.append([dataset, title, str(line["branches"]), *shares, alone, *classes])
        seen = share(branches(first(results), dataset).get("shown_in_real"))
        lines.append([dataset, REAL, "", seen, *[""] * 6])
    columns = ("test eyes", "photographs", "branches", "shown", "gone", "nothing else", "gone alone")
    return markdown([*columns, "thin", "medium", "wide"], lines)


def realism(results: All) -> str:
    """KID with its floor, and precision and recall with those of real photographs."""
    lines = []
    for dataset in DATASETS:
        for title, found in titled(results):
            line = distribution(found, dataset)
            kid = f"{line['kid']['value']:.3f} ({line['kid']['standard_error']:.3f})"
            manifold = line["manifold_at_the_floors_N"]
            likeness = [f"{manifold[key]:.2f}" for key in ("precision", "recall")]
            counts = (line["kid"]["of"], line["kid"]["N"])
            lines.append(
                [f"{dataset}, {counts[0]}", title, str(counts[1]), kid, f"{line['kid']['ratio']:.1f}", *likeness]
            )
        line = distribution(first(results), dataset)
        likeness = [f"{line['manifold_floor'][key]:.2f}" for key in ("precision", "recall")]
        lines.append([dataset, REAL, str(line["floor"]["N"]), f"{line['floor']['kid']:.3f}", "1", *likeness])
    return markdown(
        ["warped maps", "photographs", "N", "KID (standard error)", "KID / floor", "precision", "recall"], lines
    )


def spectra(results: All) -> str:
    """Spectra by frequency ring, generated over real."""
    lines = []
    for dataset in DATASETS:
        sources = [(title, spectrum(found, dataset)) for title, found in titled(results)]
        for title, found in (*sources, ("another real eye", spectrum(first(results), dataset, OTHER))):
            ends = [f"{found[key]:.2f}" for key in ("lowest", "highest")]
            lines.append([dataset, title, share(found["within"]), *ends])
    return markdown(["test eyes", "photographs", "rings within 25 %", "lowest", "highest"], lines)


def likeness(results: All) -> str:
    """SSIM and PSNR of pairs."""
    lines = []
    for dataset in DATASETS:
        for title, found in titled(results):
            measures = (*LIKE, *LIKE_AS_IS)
            cells = [with_interval(measure.of(found, dataset), measure.form) for measure in measures]
            lines.append([f"{dataset}, {eyes(found, dataset)}", title, *cells])
        cells = [with_interval(measure.of(first(results), dataset), measure.form) for measure in LIKE_OTHER]
        lines.append([dataset, "another real eye", *cells, "", ""])
    columns = ["test eyes", "photographs", *(measure.title for measure in LIKE)]
    return markdown([*columns, *(f"{measure.title}, as it is" for measure in LIKE)], lines)


def cost(results: All) -> str:
    """Seconds per photograph."""
    lines = [[title, f"{median(found.seconds):.2f}"] for title, found in titled(results)]
    return markdown(["method", "seconds per photograph"], lines)


def titled(results: All) -> Iterator[tuple[str, Results]]:
    yield from ((METHODS[name].title, found) for name, found in results.items())


def first(results: All) -> Results:
    """Results for figures of real photographs, which are the same for all methods."""
    return next(iter(results.values()))


def eyes(results: Results, dataset: str) -> int:
    return int(results.of("test", dataset, "faithfulness")["agreement"]["vessel"][dataset]["dice"]["generated"]["N"])


def share(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.0%}"


def with_interval(figure: Figure, form: str) -> str:
    text = f"{figure.value:{form}}"
    return text if math.isnan(figure.low) else f"{text} ({figure.low:{form}} to {figure.high:{form}})"


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(row)} |" if row[0] != "---" else f"|{'|'.join(row)}|" for row in rows)

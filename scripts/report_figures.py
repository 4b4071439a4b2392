"""Print the Markdown tables of a model card from the reports of ``retina_monai evaluate``.

``python scripts/report_figures.py FOLDER`` reads ``test_SET.json`` (photographs from the vessel maps of test eyes) and
``warped_SET.json`` (from warped maps of training eyes) of each data set in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fire

from retina_monai.errors import counted

Figures = Mapping[str, Any]


def main(folder: str) -> None:
    """Print one table per question.

    Args:
        folder: folder of the reports.
    """
    for title, prefix, header, row in TABLES:
        lines = []
        for path in sorted(Path(folder).glob(f"{prefix}_*.json")):
            report = json.loads(path.read_text(encoding="utf-8"))
            sections = {name: section["figures"] for name, section in report["sections"].items()}
            lines += [f"| {' | '.join(cells)} |" for cells in row(path.stem.removeprefix(f"{prefix}_"), sections)]
        if lines:
            print("\n".join([f"\n{title}\n\n{header}\n{'|---' * header.count(' | ')}|---|", *lines]))


def faithfulness(dataset: str, sections: Figures) -> Iterator[list[str]]:
    """Agreement of the judge on generated and real photographs, and the result of removing branches."""
    agreement = sections["faithfulness"]["agreement"]["vessel"][dataset]
    branches = sections["faithfulness"]["branches"]["all"]
    cells = [f"{dataset}, {agreement['dice']['generated']['N']}"]
    for metric in ("dice", "cldice", "roc_auc"):
        cells += [interval(agreement[metric]["generated"]), interval(agreement[metric]["real"])]
    gone, passed = branches["gone"] / branches["shown"], branches["passed_of_shown"]
    yield [*cells, f"{gone:.0%} of {branches['branches'] * branches['shown']:.0f}", f"{passed:.0%}"]


def visibility(dataset: str, sections: Figures) -> Iterator[list[str]]:
    """Discs, foveas, and contrast of thin and wide vessels, generated and real, if they were measured."""
    figures = sections["faithfulness"]
    if "visibility" not in figures:
        return
    disc = figures["agreement"].get("disc", {}).get(dataset)
    fovea = figures["foveas"].get(dataset)
    kinds = figures["visibility"][dataset]
    contrasts = [kinds[kind][name] for kind in ("thin", "wide") for name in ("contrast", "contrast_p10", "recall")]
    yield [
        dataset,
        f"{disc['dice']['generated']['mean']:.3f}" if disc else "",
        f"{disc['dice_085']['generated']['mean']:.0%}" if disc else "",
        beside(fovea, ".0%") if fovea else "",
        *(beside(score, ".2f") for score in contrasts),
    ]


def beside(score: Figures, form: str) -> str:
    """Mean on generated photographs, and in brackets on real ones."""
    values = (score[side]["mean"] for side in ("generated", "real"))
    generated, real = ("none" if value is None else f"{value:{form}}" for value in values)
    return f"{generated} ({real})"


def realism(dataset: str, sections: Figures) -> Iterator[list[str]]:
    """KID with its floor, and recall with that of real photographs."""
    ((extractor, figures),) = sections["distribution"]["extractors"].items()
    kid, floor = figures["kid"], figures["floor"]
    recall, real = figures["manifold_at_the_floors_N"]["recall"], figures["manifold_floor"]["recall"]
    yield [
        f"{dataset}, {kid['of']}",
        f"{kid['N']}",
        f"{kid['value']:.3f} ({kid['standard_error']:.3f})",
        f"{floor['kid']:.3f}",
        f"{kid['ratio']:.1f}",
        f"{recall:.2f}",
        f"{real:.2f}",
        extractor,
    ]


def privacy(dataset: str, sections: Figures) -> Iterator[list[str]]:
    """Copies, authenticity and membership inference."""
    figures = sections["privacy"]
    copies, authenticity, membership = figures["copies"]["judged"], figures["authenticity"], figures["membership"]
    yield [
        f"{dataset}, {copies['count']}",
        f"{copies['hits']} ({copies['low']:.0%} to {copies['high']:.0%})",
        f"{figures['false_positives']['hits']} of {figures['false_positives']['count']}",
        f"{authenticity['synthetic']:.2f}",
        f"{authenticity['held_out']:.2f}",
        *(f"{m['auc']:.2f} ({m['low']:.2f} to {m['high']:.2f})" for m in membership.values()),
        str(figures["calibration"]["score"]["patients"]),
    ]


def usefulness(dataset: str, sections: Figures) -> Iterator[list[str]]:
    """Dice on real test eyes of a network trained on synthetic eyes, on real eyes and on both."""
    figures = sections["usefulness"]
    for network, results in figures.get("results", {}).items():
        arms = results["arms"]
        yield [
            f"{dataset}, {arms['real']['dice']['N']}",
            network,
            *(interval(arms[arm]["dice"]) for arm in ("synthetic", "real", "real + synthetic")),
            interval(results["real_minus_synthetic"]),
        ]


def interval(figure: Figures) -> str:
    """Mean and 95 % interval, if there are enough patients."""
    if figure["low"] is None:
        return f"{figure['mean']:.3f} ({counted(figure['groups'], 'patient')}: no interval)"
    return f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


Row = Callable[[str, Figures], Iterator[list[str]]]
TABLES: tuple[tuple[str, str, str, Row], ...] = (
    (
        "Vessel maps of test eyes: what the judge finds",
        "test",
        "| test eyes | Dice | real | clDice | real | AUC | real | branches gone | gone, and nothing else |",
        faithfulness,
    ),
    (
        "Vessel maps of test eyes: discs, foveas and visibility of vessels, generated (real)",
        "test",
        "| test eyes | Dice of the disc | Dice of 0.85 or more | foveas | thin vessels: contrast | 10th percentile "
        "| recall | wide vessels: contrast | 10th percentile | recall |",
        visibility,
    ),
    (
        "Warped maps of training eyes: realism",
        "warped",
        "| photographs | N | KID (standard error) | floor | ratio | recall | real | extractor |",
        realism,
    ),
    (
        "Warped maps of training eyes: privacy",
        "warped",
        "| photographs | copies | real eyes called copies | authenticity | real | membership AUC by pixels "
        "| by embedding | training patients |",
        privacy,
    ),
    (
        "Warped maps of training eyes: usefulness, Dice on real test eyes",
        "warped",
        "| test eyes | network | learned from synthetic | from real | from both | real less synthetic |",
        usefulness,
    ),
)

if __name__ == "__main__":
    fire.Fire(main)

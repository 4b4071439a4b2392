"""Print the figures of a model card as Markdown, from the reports of ``evaluate.json``.

``python scripts/card_figures.py "{'released': 'runs/release/evaluation', 'L1 alone': 'runs/release/evaluation-l1'}"``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fire

PROTOCOLS = ("given", "camera", "average", "drawn")
METRICS = {"mse": 4, "psnr": 2, "ssim": 3, "psnr_fov": 2, "ssim_fov": 3}


def main(reports: dict[str, str]) -> None:
    """Print a table of paired image quality and a table of power spectra.

    Args:
        reports: name -> ``output_dir`` of an evaluation, or its report.
    """
    loaded = {name: json.loads(_report(folder).read_text()) for name, folder in reports.items()}
    print("| weights | appearance | test eyes | MSE | PSNR | SSIM | PSNR in the field of view | SSIM there |")
    print("|---|---|---|---|---|---|---|---|")
    for protocol in PROTOCOLS:
        for dataset in loaded[next(iter(loaded))]["spectrum"]:
            for name, report in loaded.items():
                print(_row(name, protocol, dataset, report))
    print("\n| weights | test eyes | lowest ratio | highest ratio | rings within 25 % |\n|---|---|---|---|---|")
    for name, report in loaded.items():
        for dataset, spectrum in report["spectrum"].items():
            within = sum(abs(ratio - 1) <= 0.25 for ratio in spectrum["ratio"]) / len(spectrum["ratio"])
            print(f"| {name} | {dataset} | {spectrum['lowest']:.2f} | {spectrum['highest']:.2f} | {within:.0%} |")


def _report(place: str) -> Path:
    return Path(place) / "report.json" if Path(place).is_dir() else Path(place)


def _row(name: str, protocol: str, dataset: str, report: dict[str, Any]) -> str:
    lines = [row for row in report["table"] if row["dataset"] == dataset and row["appearance"] == protocol]
    figures = {row["metric"]: row for row in lines}
    cells = [_figure(figures[metric], decimals) for metric, decimals in METRICS.items()]
    return f"| {name} | {protocol} | {dataset}, {lines[0]['N']} | " + " | ".join(cells) + " |"


def _figure(row: dict[str, Any], decimals: int) -> str:
    return f"{row['mean']:.{decimals}f} ({row['low']:.{decimals}f} to {row['high']:.{decimals}f})"


if __name__ == "__main__":
    fire.Fire(main)

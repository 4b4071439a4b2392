"""Train variants of the published pix2pix with one part changed each, and write docs/ablations.md.

    python scripts/ablations.py --dataset_dir "['DATA/CHASE_DB1','DATA/HRF','DATA/FIVES']"

Every variant is ``paper.json``, narrowed to 32 features, with one overlay ``configs/ablation_*.json``. Each is trained
for the same number of iterations with each seed, and evaluated on the test eyes. All runs are in one MLflow experiment.
Repeat the command to resume an interrupted run; finished parts are skipped. Takes about a hundred minutes on one core.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fire
import numpy as np

from retina_monai.data import LoadEyed, find_datalist
from retina_monai.data.files.writing import write_png
from retina_monai.errors import RetinaError
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.files import write_text
from retina_monai.handlers import sqlite_uri
from retina_monai.synthesis import load

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "bundles" / "pix2pix_vessel" / "configs"
PAGE = ROOT / "docs" / "ablations.md"
NARROW = {"features": 32, "discriminator_features": 32}
PUBLISHED = "published"
TITLES = {
    PUBLISHED: "as published",
    "no_discriminator_norm": "no batch norm in the discriminator",
    "no_dropout": "no dropout",
    "xavier": "Xavier initialisation",
    "high_learning_rate": "learning rate 2e-3",
    "low_learning_rate": "learning rate 2e-5",
}
METRICS = {"psnr": 2, "ssim": 3, "mse": 4}

Figures = dict[str, float]


class Run(NamedTuple):
    """One training: its variant, its seed and its working folder."""

    variant: str
    seed: int
    work: Path

    @property
    def folder(self) -> Path:
        return self.work / f"{self.variant}-seed{self.seed}"

    @property
    def report(self) -> Path:
        return self.work / f"{self.variant}-seed{self.seed}-test"


def train(run: Run, epochs: int, options: Mapping[str, Any]) -> None:
    """Train or resume, unless the weights exist. Validates only at the end, so that all variants use the last epoch."""
    if (run.folder / "model.pt").is_file():
        return
    resume = any(run.folder.glob("checkpoints/epoch_*.pt"))
    values = {"seed": run.seed, "max_epochs": epochs, "val_interval": epochs, "resume": resume}
    _bundle(run.folder, _configs(run), {**options, **values})


def evaluate(run: Run, options: Mapping[str, Any]) -> None:
    if not (run.report / "report.json").is_file():
        _bundle(run.report, [*_configs(run), "evaluate.json"], {**options, "checkpoint": run.folder / "model.pt"})


def _configs(run: Run) -> list[str]:
    return ["train.json", "paper.json", *([] if run.variant == PUBLISHED else [f"ablation_{run.variant}.json"])]


def _bundle(output: Path, configs: Sequence[str], options: Mapping[str, Any]) -> None:
    files = [str(CONFIGS / name) for name in configs]
    tracking = {"tracking_uri": sqlite_uri(output.parent), "tracker#experiment_name": "pix2pix_vessel_ablations"}
    values = {"config_file": files, "output_dir": output, **tracking, **NARROW, **options}
    arguments = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    print(f"\n== {output.name}", flush=True)
    if subprocess.run([sys.executable, "-m", "monai.bundle", "run", *arguments], check=False).returncode:
        raise RetinaError(f"{output.name} failed: fix the error above and repeat the command")


def figures(report: Path) -> Figures:
    """Mean metrics over the test eyes in the real eye's appearance, and the share of spectrum rings within 25 %."""
    with (report / "eyes.csv").open(newline="", encoding="utf-8") as file:
        eyes = [row for row in csv.DictReader(file) if row["appearance"] == "given"]
    spectra = json.loads((report / "report.json").read_text(encoding="utf-8"))["spectrum"].values()
    ratios = np.concatenate([spectrum["ratio"] for spectrum in spectra])
    means = {metric: float(np.mean([float(eye[metric]) for eye in eyes])) for metric in METRICS}
    return {**means, "rings": float(np.mean(np.abs(ratios - 1) <= 0.25)), "eyes": len(eyes)}


def table(results: Mapping[str, Sequence[Figures]]) -> str:
    """Table with one row per variant: mean over seeds, with each seed in brackets."""
    lines = ["| variant | PSNR | SSIM | MSE | spectrum rings within 25 % |", "|---|---|---|---|---|"]
    for variant, seeds in results.items():
        cells = [_cell([seed[metric] for seed in seeds], f".{digits}f") for metric, digits in METRICS.items()]
        lines.append(f"| {TITLES[variant]} | {' | '.join(cells)} | {_cell([seed['rings'] for seed in seeds], '.0%')} |")
    return "\n".join(lines)


def _cell(values: Sequence[float], form: str) -> str:
    return f"{np.mean(values):{form}} ({', '.join(f'{value:{form}}' for value in values)})"


def beyond(variant: Sequence[Figures], published: Sequence[Figures], metric: str) -> int:
    """1 if every seed of a variant is above every published seed, -1 if below, 0 if they overlap."""
    ours, theirs = ([seed[metric] for seed in seeds] for seeds in (variant, published))
    return (min(ours) > max(theirs)) - (max(ours) < min(theirs))


def verdict(variant: Sequence[Figures], published: Sequence[Figures]) -> str:
    """Difference between a variant and the published settings, and whether the seeds overlap."""
    parts = []
    for metric, unit, digits in (("psnr", " dB of PSNR", 2), ("ssim", " of SSIM", 3)):
        ours, theirs = (np.mean([seed[metric] for seed in seeds]) for seeds in (variant, published))
        shown = "" if beyond(variant, published, metric) else " (the seeds overlap: not shown)"
        parts.append(f"{ours - theirs:+.{digits}f}{unit}{shown}")
    return ", ".join(parts)


def settle(without: Sequence[Figures], published: Sequence[Figures]) -> str:
    """Conclusion about dropout from its two rows."""
    signs = {beyond(without, published, metric) for metric in ("psnr", "ssim")}
    if signs == {1}:
        return "Dropout is better left out: without it every seed has the higher PSNR and the higher SSIM."
    if signs == {-1}:
        return "Dropout is better kept: without it every seed has the lower PSNR and the lower SSIM."
    return "On dropout these seeds settle nothing: PSNR and SSIM do not both separate the rows."


def draw(runs: Iterable[Run], dataset_dir: Any, path: Path) -> None:
    """Picture of the first test eye of each data set: vessel map, output of each variant (first seed), photograph."""
    items = {item["dataset"]: item for item in reversed(find_datalist(dataset_dir)["test"])}.values()
    generators = {TITLES[run.variant]: load(checkpoint=run.folder / "model.pt") for run in runs}
    size = next(iter(generators.values())).size
    rows = []
    for eye, item in ((LoadEyed(size)(item), item) for item in items):
        vessel, fov, image = (np.asarray(eye[key]) for key in ("vessel", "fov", "image"))
        painted = [generator(vessel, fov, item["image"]) for generator in generators.values()]
        rows.append([vessel, *painted, image * (fov >= 128)])
    write_png(path, image_grid(rows, ["vessel map", *generators, "real"]))


def page(
    results: Mapping[str, Sequence[Figures]], seeds: Sequence[int], iterations: int, epochs: int, picture: str
) -> str:
    """Text of the page."""
    published = results[PUBLISHED]
    out = [f"- {TITLES[name]}: {verdict(seeds, published)}" for name, seeds in results.items() if name != PUBLISHED]
    if "no_dropout" in results:
        out += ["", settle(results["no_dropout"], published)]
    return TEMPLATE.format(
        iterations=iterations,
        epochs=epochs,
        seeds=" and ".join(map(str, seeds)),
        first=seeds[0],
        count=len(seeds),
        eyes=int(published[0]["eyes"]),
        picture=picture,
        table=table(results),
        out="\n".join(out),
    )


def main(
    dataset_dir: Any,
    iterations: int = 2000,
    seeds: Sequence[int] = (0, 1),
    work: str = "runs/ablations",
    output: str = str(PAGE),
    only: Sequence[str] | None = None,
    **overrides: Any,
) -> None:
    """Train and evaluate all variants, and write the page.

    Args:
        dataset_dir: a data set or a list of them, as for training.
        iterations: iterations of each training, rounded up to whole epochs.
        seeds: seeds of each variant.
        work: folder for trainings, evaluations and the MLflow database.
        output: file of the page; its picture is written to ``images/`` next to it.
        only: variants to train besides the published one; defaults to all.
        overrides: overrides of the bundle's config for every run.
    """
    variants = [name for name in TITLES if only is None or name in (PUBLISHED, *only)]
    eyes = len(find_datalist(dataset_dir)["training"])
    epochs = math.ceil(iterations / eyes)
    options = {"dataset_dir": dataset_dir, **overrides}
    runs = [Run(variant, seed, Path(work).resolve()) for seed in seeds for variant in variants]
    for run in runs:
        train(run, epochs, options)
        evaluate(run, options)
    results = {name: [figures(run.report) for run in runs if run.variant == name] for name in variants}
    picture = Path(output).parent / "images" / "ablations.png"
    draw([run for run in runs if run.seed == seeds[0]], dataset_dir, picture)
    write_text(output, page(results, seeds, epochs * eyes, epochs, f"images/{picture.name}"))
    print(f"\n{table(results)}\n\n{output}")


TEMPLATE = """# Ablations of the source study

This page measures the effect of the parts of the published pix2pix on vessel maps. Each part is removed or changed
while everything else stays the same.

{table}

![A test eye of each data set: vessel map, variants, real]({picture})

*A test eye of each data set (CHASE_DB1, Fraz et al. 2012; HRF, Budai et al. 2013; FIVES, Jin et al. 2022; CC BY 4.0),
cropped and scaled down; weights of seed {first}.*

## Method

    python scripts/ablations.py --dataset_dir "['DATA/CHASE_DB1','DATA/HRF','DATA/FIVES']"

Each variant is `paper.json`, narrowed to 32 features in both networks, with one overlay `ablation_*.json`. It is
trained for {iterations} iterations ({epochs} epochs) at batch size 1 with seeds {seeds}. It is measured at the end of
training on {eyes} test eyes, with the appearance of the real eye given to each generated photograph. The table has
means over the eyes, with the value of each seed in brackets. No setting was chosen by these figures.

All runs are in one MLflow experiment: `mlflow ui --backend-store-uri sqlite:///runs/ablations/mlruns.db`.

A variant counts as different if each of its seeds lies beyond every seed of the published settings. With {count}
seeds each this is weak evidence. Whether variants within the spread are equal is unknown.

## Results

Relative to the first row:

{out}

## Claims of the study

The study (pix2pix from vessel maps on the Retina Blood Vessel set, 40 epochs at 256 px, 80/20 split) reports MSE
0.0378, SSIM 0.7307 and PSNR 21.18 for batch norm in the discriminator, weights drawn from N(0, 0.02) and a learning
rate of 2e-4. It contradicts itself on dropout, so both versions are measured here. It reports no spread between
seeds. Its data set is not among those measured here (`python -m retina_monai list` says where to get it). Compare the
rows with each other, not with the study.
"""

if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(f"error: {error}") from error

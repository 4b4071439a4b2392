"""Train and measure the methods; finished parts are skipped."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparison.methods import DATASETS, EYES, Method, Training
from retina_monai.errors import RetinaError
from retina_monai.files import write_json

ROOT = Path(__file__).resolve().parents[2]
MINUTES = "minutes.json"
SETS: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "test": ("{}", {"split": "test"}, "image,distribution,faithfulness"),
    "warped": ("random:{}", {"split": "training", "augment": 3}, "distribution,usefulness"),
}
"""Kind of set -> appearance (with the data set's name), settings of ``synthesize``, families of ``evaluate``."""
KEPT = ("question", "light", "answer", "notes", "figures")
"""Kept keys of a report's section. Its tables repeat the figures, and its pictures are separate files."""


def train(method: Method, data: Path, output: Path, folder: Path) -> None:
    """Run or resume the unfinished trainings of a method.

    Args:
        method: the method.
        data: folder of the data sets.
        output: folder of the phantoms and of the cache shared by all methods.
        folder: folder of the method, with one folder per training and ``minutes.json`` with their processor times.
    """
    for name, training in method.trainings.items():
        record = read_minutes(folder).get(name, {})
        about = {"bundle": training.bundle, "data": training.data, "epochs": training.epochs}
        about |= {"weights": dict(training.weights), "options": dict(training.options), "size": method.size}
        if record and {"size": 256, **record} != {**record, **about}:
            raise RetinaError(f"{folder / name} was trained with other settings: remove {folder} to train again")
        if record.get("finished"):
            continue
        values = settings(training, data, output, folder) | {"output_dir": folder / name, "size": method.size}
        values["resume"] = any((folder / name).glob("checkpoints/epoch_*.pt"))
        arguments = [text for key, value in values.items() for text in (f"--{key}", str(value))]
        before, finished = processor_minutes(), False
        try:
            run(f"training {name}", ["monai.bundle", "run", "training", *arguments])
            finished = True
        finally:
            minutes = record.get("minutes", 0) + processor_minutes() - before
            record = about | {"minutes": round(minutes, 2), "finished": finished}
            write_json(folder / MINUTES, read_minutes(folder) | {name: record})


def settings(training: Training, data: Path, output: Path, folder: Path) -> dict[str, Any]:
    """Settings of a training: its data, number of epochs, and weights of earlier trainings."""
    eyes = [str(data / name) for name in DATASETS]
    return {
        "config_file": ROOT / "bundles" / training.bundle / "configs" / "train.json",
        "dataset_dir": eyes if training.data == EYES else output / "phantoms",
        "cache_dir": output / "cache",
        "max_epochs": training.epochs,
        "val_interval": training.epochs,
        **{key: folder / name / "model.pt" for key, name in training.weights.items()},
        **training.options,
    }


def read_minutes(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MINUTES
    minutes: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return minutes


def processor_minutes() -> float:
    """Processor time of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def generator_of(method: Method, folder: Path) -> str | Path:
    """Bundle for ``synthesize``: a bundle of the library, or a copy with the trained weights."""
    return folder / "bundles" / method.generator if method.trainings else method.generator


def release(method: Method, folder: Path) -> None:
    """Copy the method's bundles with the trained weights."""
    bundles = folder / "bundles"
    for bundle, training in method.released.items():
        shutil.copytree(ROOT / "bundles" / bundle / "configs", bundles / bundle / "configs", dirs_exist_ok=True)
        path = bundles / bundle / "configs" / "inference.json"
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"size": method.size})
        values = {"overwrite": True, "trust": True}
        retina_monai(f"release {bundle}", "release", [folder / training, bundles / bundle], values)


def measure(method: Method, data: Path, folder: Path, reports: Path) -> None:
    """Generate photographs for each data set, evaluate them, and write the reports for the page.

    Args:
        method: the method.
        data: folder of the data sets.
        folder: folder of the method.
        reports: folder for the method's reports.
    """
    release(method, folder)
    generator = generator_of(method, folder)
    write_json(reports / MINUTES, read_minutes(folder))
    for dataset in DATASETS:
        for kind, (appearance, options, families) in SETS.items():
            name = f"{kind}_{dataset}"
            report = folder / f"report-{name}" / "report.json"
            if not report.is_file():
                places = {"input_dir": data / dataset, "output_dir": folder / name}
                values = {**places, "appearance": appearance.format(dataset), **options}
                retina_monai(f"{method.title}, {name}", "synthesize", [generator], {**values, "trust": True})
                places = {"synthetic_dir": folder / name, "real_dir": data / dataset, "output_dir": report.parent}
                values = {**places, "families": families, "mode": "full", "size": method.size, "mlflow": False}
                values |= {"generator": generator, "trust": True, "cache_dir": folder.parent / "evaluations"}
                retina_monai(f"evaluation of {method.title}, {name}", "evaluate", [], values)
            write_json(reports / f"{name}.json", shortened(report, folder, data))


def retina_monai(title: str, verb: str, places: Sequence[str | Path], values: Mapping[str, Any]) -> None:
    arguments = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    run(title, ["retina_monai", verb, *map(str, places), *arguments])


def shortened(report: Path, *folders: Path) -> dict[str, Any]:
    """Figures and answers of a report, without local paths."""
    text = report.read_text(encoding="utf-8")
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    content: dict[str, Any] = json.loads(text)
    sections = {name: {key: section[key] for key in KEPT} for name, section in content["sections"].items()}
    return content | {"sections": sections}


def run(title: str, arguments: Sequence[str]) -> None:
    """Run a Python module from the repository's root."""
    print(f"\n== {title}", flush=True)
    if subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode:
        raise RetinaError(f"{title} failed: fix the error above and repeat the command")

"""A report as a run of MLflow, for the comparison of generators."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import DatasetInput, Metric, Param, Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from retina_monai.evaluation.report.kept import key_of
from retina_monai.evaluation.report.page import WORDS, flatten
from retina_monai.handlers.mlflow_store import (
    artifact_folder,
    dataset_input,
    experiment_id,
    is_usable,
    one_sentence,
    run_page,
    source_tags,
    sqlite_uri,
)
from retina_monai.settings import expand_home

__all__ = ["EXPERIMENT", "ReportRun"]

logger = logging.getLogger("retina_monai")

EXPERIMENT = "evaluation"
TAG = "retina_monai.report"  # tag with the digest of the run's report
METRICS_AT_ONCE, PARAMETERS_AT_ONCE = 1000, 100  # MLflow's limits for one call
LONGEST = 500
LIGHTS = {"red": 0.0, "amber": 1.0, "green": 2.0}


class ReportRun:
    """Log reports to MLflow. A report that is already logged is skipped.

    Args:
        folder: folder of the report; its name is part of the run's name.
        tracking_uri: a server or database; ``None`` for SQLite in the folder. ``MLFLOW_TRACKING_URI`` takes precedence.

    Raises:
        RetinaError: the store cannot be used (:func:`retina_monai.handlers.mlflow_store.is_usable`).
    """

    def __init__(self, folder: Path, tracking_uri: str | None = None) -> None:
        self.folder = folder
        self.address = expand_home(os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri or sqlite_uri(folder))
        is_usable(self.address, EXPERIMENT, otherwise="--mlflow false")

    def log(self, report: Mapping[str, Any]) -> None:
        """Log figures as metrics, lights, settings, tables, pictures and the report's files.

        Raises:
            RetinaError: MLflow cannot write to its store.
        """
        with one_sentence(self.address, "evaluate"):
            files = artifact_folder(self.address)
            client, digest = MlflowClient(tracking_uri=self.address), key_of(report)
            experiment = experiment_id(client, EXPERIMENT, files)
            for run in _runs(client, experiment, digest):
                if run.info.status == "FINISHED":
                    return
                client.delete_run(run.info.run_id)  # left by an interruption
            name = f"{self.folder.resolve().name}-{time.strftime('%Y%m%d-%H%M%S')}"
            run_id = client.create_run(experiment, run_name=name, tags={TAG: digest, **_tags(report)}).info.run_id
            self._log(client, run_id, report)
            client.set_terminated(run_id)
            logger.info("MLflow: %s, experiment %s, run %s", self.address, EXPERIMENT, name)
            logger.info("MLflow: this run is at %s", run_page(self.address, experiment, run_id))

    def _log(self, client: MlflowClient, run_id: str, report: Mapping[str, Any]) -> None:
        stamp = int(time.time() * 1000)
        metrics = [Metric(name, value, stamp, step) for name, value, step in _metrics(report)]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            client.log_batch(run_id, metrics=metrics[start : start + METRICS_AT_ONCE])
        client.log_inputs(run_id, [_dataset(part, key) for key, part in report["compared"].items()])
        parameters = list(_parameters(report))
        for start in range(0, len(parameters), PARAMETERS_AT_ONCE):
            client.log_batch(run_id, params=parameters[start : start + PARAMETERS_AT_ONCE])
        for key, section in report["sections"].items():
            for number, table in enumerate(section["tables"], 1):
                _log_table(client, run_id, table, f"tables/{key}_{number}_{_file_name(table['title'])}.json")
            for picture in section["pictures"]:
                client.log_artifact(run_id, str(self.folder / picture["path"]), "pictures")
        for file in ("index.html", "report.json"):
            client.log_artifact(run_id, str(self.folder / file))


def _log_table(client: MlflowClient, run_id: str, table: Mapping[str, Any], path: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "For backward compatibility, 'str' dtypes")  # pandas' warning to MLflow
        client.log_table(run_id, _columns(table), path)


def _tags(report: Mapping[str, Any]) -> dict[str, str]:
    generator = report["compared"]["synthetic"].get("generator") or {}
    answers = report["answers"].items()
    rows = "\n".join(f"| {key} | {WORDS[answer['light']].lower()} | {answer['answer']} |" for key, answer in answers)
    note = (
        f"A synthetic set compared with a real one.\n\n| family | light | answer |\n|---|---|---|\n{rows}\n\n"
        "Metrics are named after their family. `light` is 2 for good, 1 for with reservations and 0 for not good."
    )
    tags = source_tags("retina_monai evaluate") | {MLFLOW_RUN_NOTE: note}
    tags["datasets"] = ", ".join(report["compared"]["real"]["datasets"])
    return tags | ({"bundle": str(generator["bundle"])} if "bundle" in generator else {})


def _dataset(part: Mapping[str, Any], role: str) -> DatasetInput:
    names = [f"{role} {name}" for name in part["datasets"]]
    return dataset_input(names, part["fingerprint"], part["splits"], role)


def _runs(client: MlflowClient, experiment: str, digest: str) -> Sequence[Run]:
    runs: Sequence[Run] = client.search_runs([experiment], filter_string=f"tags.`{TAG}` = '{digest}'")
    return runs


def _metrics(report: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of each number; a list of numbers is one metric over steps."""
    for key, section in report["sections"].items():
        if section["light"] in LIGHTS:
            yield f"{key}/light", LIGHTS[section["light"]], 0
        for path, value in flatten(section["figures"]):
            values = value if isinstance(value, list) else [value]
            for step, number in enumerate(values):
                if isinstance(number, int | float):
                    yield _name(f"{key}/{path}"), float(number), step


def _parameters(report: Mapping[str, Any]) -> Iterator[Param]:
    parts = {key: report[key] for key in ("compared", "settings", "networks", "versions")}
    lights = {f"light/{key}": section["light"] for key, section in report["sections"].items()}
    for path, value in flatten(parts | lights):
        if value not in (None, "", []):
            yield Param(_name(path), str(value)[:LONGEST])


def _columns(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Columns of a table by title; a repeated title gets its number."""
    columns: dict[str, list[Any]] = {}
    for place, title in enumerate(table["columns"]):
        name = f"{title} {place + 1}" if title in columns else str(title)
        columns[name] = [row[place] for row in table["rows"]]
    return columns


def _file_name(title: str) -> str:
    return re.sub(r"\W+", "_", title, flags=re.ASCII)[:60].strip("_")


def _name(path: str) -> str:
    """``path`` with the characters that MLflow accepts in names."""
    return re.sub(r"[^\w\-./ ]", "_", path, flags=re.ASCII)[:250]

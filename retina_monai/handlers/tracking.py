"""Log a training to MLflow: parameters, losses, metrics, pictures, config and weights in one run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from monai.handlers import MLFlowHandler

from retina_monai.data.listing.layout import SPLITS, Datalist
from retina_monai.engines.process import is_first_rank
from retina_monai.handlers.config_file import ConfigFile
from retina_monai.handlers.failure import on_failure
from retina_monai.handlers.mlflow_store import (
    FAILURES,
    artifact_folder,
    dataset_input,
    experiment_id,
    is_usable,
    one_sentence,
    run_page,
    source_tags,
)
from retina_monai.settings import expand_home

__all__ = ["Tracker"]

logger = logging.getLogger("retina_monai")
LONGEST_PARAMETER, LONGEST_TAG = 500, 5000
RESUMED = "resumed_after_epoch_"
TRAINING_FILES = ("model.pt", "network.json", "training.json", "appearances.json")
CODE = ("$", "@", "%")
"""Prefixes of MONAI's expressions and references."""


class Tracker(MLFlowHandler):
    """MONAI's ``MLFlowHandler`` with one run per training.

    Logs parameters, data set, source, a description and the config at the start of the run, and losses and validation
    metrics after each epoch. Pictures are logged as they are drawn, and weights as plain files at the end.
    ``MLFLOW_TRACKING_URI`` takes precedence over ``tracking_uri``, as in MONAI. ``config.json`` (:class:`ConfigFile`)
    is written to ``output_dir`` whether or not MLflow is used.

    Args:
        tracking_uri: address of a server, or ``sqlite:///...``.
        experiment_name: the bundle's name.
        output_dir: folder for ``config.json``; its name is part of the run's name.
        config: the config as run; its plain top-level values are logged as parameters.
        fingerprint: fingerprint of the data set, logged as parameter ``dataset_fingerprint``.
        datalist: the data set; names of its sets and numbers of eyes by split are logged.
        evaluator: its metrics are logged too.
        artifacts: files to log when the training ends, if they exist; relative paths are relative to ``output_dir``.
        required: whether an unusable store is an error; if not, training continues untracked.
        enabled: whether to track; true on rank 0 only.

    Attributes:
        run_id: ID of the run. If set before the start, that run is continued.

    Raises:
        RetinaError: as :func:`retina_monai.handlers.mlflow_store.is_usable`; or logging fails during the run, for
            example on a full disk.
    """

    experiment: Any  # MONAI's handler declares it as None, and fills it in _set_experiment

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        output_dir: str | Path,
        config: Mapping[str, Any] | None = None,
        fingerprint: str = "",
        datalist: Datalist | None = None,
        evaluator: Engine | None = None,
        artifacts: Sequence[str] = TRAINING_FILES,
        required: bool = True,
        enabled: bool = True,
    ) -> None:
        self.address = expand_home(os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri)
        self.enabled = enabled and is_usable(self.address, experiment_name, required)
        self.experiment_name = experiment_name
        self.output_dir = Path(output_dir)
        self.config = dict(config or {})
        self.fingerprint = fingerprint
        items = {split: (datalist or {}).get(split, []) for split in SPLITS}
        self.eyes = {split: len(part) for split, part in items.items()}
        self.datasets = sorted({str(item["dataset"]) for part in items.values() for item in part if "dataset" in item})
        self.evaluator = evaluator
        self.files = [self.output_dir / name for name in artifacts]
        self.file = ConfigFile(output_dir, self.config, fingerprint)
        self.run_id: str | None = None
        self.cur_run = None

    def attach(self, engine: Engine) -> None:
        evaluators = [engine] if self.evaluator is None else [engine, self.evaluator]
        if is_first_rank() and not self.enabled and self.evaluator is None:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.file.write)  # not if the evaluation fails
        elif is_first_rank():
            engine.add_event_handler(Events.STARTED, self.file.start)
        for each in evaluators if is_first_rank() else []:
            each.add_event_handler(Events.EPOCH_COMPLETED, self.note_formulas)
        if not self.enabled:
            return
        self._on(engine, Events.STARTED, self.start)
        self._on(engine, Events.EPOCH_COMPLETED, self.epoch_completed)
        self._on(engine, Events.EPOCH_COMPLETED, self.log_pictures)
        on_failure(engine, self.fail)
        self._on(engine, Events.COMPLETED, self.complete)
        self._on(engine, Events.COMPLETED, self.close)
        if self.evaluator is not None:
            self._on(self.evaluator, Events.EPOCH_COMPLETED, self.log_evaluation)

    def _on(self, engine: Engine, event: Events, handler: Callable[..., None]) -> None:
        """Attach a handler whose write errors are reported in one sentence."""

        @wraps(handler)
        def named(*arguments: Any) -> None:
            with one_sentence(self.address, "train"):
                handler(*arguments)

        engine.add_event_handler(event, named)

    def start(self, engine: Engine) -> None:
        """Create the run, or continue that of a resumed training; then log parameters, description and config."""
        self._connect()
        self._set_experiment()
        if self.run_id is None or not self._is_there(self.run_id):
            self.run_id = self.client.create_run(self.experiment.experiment_id, run_name=self.run_name).info.run_id
        else:
            self.client.update_run(self.run_id, status="RUNNING")
        self.cur_run = self.client.get_run(self.run_id)
        by_engine = set(self.default_tracking_params)  # logged from the engine, which overrides may change directly
        parameters = {key: text for key, text in _parameters(self.config).items() if key not in by_engine}
        parameters["dataset_fingerprint"] = self.fingerprint
        self._delete_exist_param_in_dict(parameters)
        self._log_params(parameters)
        super().start(engine)
        self._describe(engine)
        self.log_config()
        page = run_page(self.address, self.experiment.experiment_id, str(self.run_id))
        logger.info("MLflow: this run is at %s", page)

    def _connect(self) -> None:
        """Initialise MONAI's handler at the start, because its client creates the database file."""
        name = f"{self.output_dir.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        super().__init__(
            tracking_uri=self.address,
            experiment_name=self.experiment_name,
            run_name=name,
            artifact_location=artifact_folder(self.address),
        )
        logger.info("MLflow: %s, experiment %s", self.address, self.experiment_name)

    def _set_experiment(self) -> None:
        name = experiment_id(self.client, self.experiment_name, self.artifact_location)
        self.experiment = self.client.get_experiment(name)

    def _is_there(self, run_id: str) -> bool:
        """Whether the run of a resumed training is in this store."""
        try:
            found = self.client.get_run(run_id).info.lifecycle_stage
        except MlflowException:
            logger.warning("MLflow: run %s is not in %s, the resumed training gets a new one", run_id, self.address)
            return False
        if found != "active":
            logger.warning("MLflow: run %s was deleted, the resumed training gets a new one", run_id)
        return bool(found == "active")

    def _describe(self, engine: Engine) -> None:
        """Log source, data sets, tags and the description, including changes on resumption."""
        bundle = self.config.get("_meta_", {}).get("version", "")
        tags = source_tags(f"monai.bundle run: {self.experiment_name} {bundle}".strip())
        tags |= {"bundle": self.experiment_name, "bundle_version": bundle, "datasets": ", ".join(self.datasets)}
        tags |= {f"{RESUMED}{epoch}": text for epoch, text in self.file.resumed.items()}
        run = self.client.get_run(self.run_id)
        note = run.data.tags.get(MLFLOW_RUN_NOTE) or self._introduction(engine)
        for epoch, text in self.file.resumed.items():
            line = f"Resumed after epoch {epoch} with other settings: {text}."
            note += "" if line in note else f"\n\n{line}"
        tags[MLFLOW_RUN_NOTE] = note
        for key, text in tags.items():
            if text:
                self.client.set_tag(self.run_id, key, text[:LONGEST_TAG])
        for key in run.data.tags.keys() - tags.keys():
            if key.startswith(RESUMED):  # resumptions that finished no epoch
                self.client.delete_tag(self.run_id, key)
        if self.datasets:
            context = "training" if hasattr(engine, "loss_meanings") else "evaluation"
            given = dataset_input(self.datasets, self.fingerprint, self.eyes, context)
            self.client.log_inputs(self.run_id, [given])

    def _introduction(self, engine: Engine) -> str:
        eyes = ", ".join(f"{count} {split}" for split, count in self.eyes.items())
        text = f"`{self.experiment_name}` on {' + '.join(self.datasets) or 'no data set'} (eyes: {eyes})."
        best = getattr(getattr(self.evaluator, "state", None), "key_metric_name", None)
        if best:
            text += f" The weights are from the epoch with the best `{best}`."
        meanings: Mapping[str, str] = getattr(engine, "loss_meanings", {})
        if meanings:
            rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in meanings.items())
            text += (
                "\n\nLosses are means over an epoch, multiplied by their weights. Losses of weight 0 are not logged."
                f"\n\n| loss | meaning |\n|---|---|\n{rows}"
            )
        return text

    def log_config(self) -> None:
        """Log the config as run."""
        self.client.log_artifact(self.run_id, str(self.file.path))

    def note_formulas(self, engine: Any) -> None:
        """Record the formulas of composite metrics in the config file and the run."""
        formulas: Mapping[str, str] = getattr(engine.state, "formulas", {})
        if self.file.note(formulas) and self.enabled:
            with one_sentence(self.address, "train"):
                for name, formula in formulas.items():
                    self.client.set_tag(self.run_id, name, formula)
                self.log_config()

    def log_evaluation(self, evaluator: Any) -> None:
        self._log_metrics(dict(evaluator.state.metrics), step=evaluator.state.epoch)
        self.log_pictures(evaluator)

    def log_pictures(self, engine: Engine) -> None:
        """Log the files listed in ``state.pictures`` by other handlers."""
        for path in getattr(engine.state, "pictures", ()):
            self.client.log_artifact(self.run_id, str(path), "pictures")

    def complete(self) -> None:
        """Log the files in ``artifacts`` that exist."""
        for path in self.files:
            if path.is_file():
                self.client.log_artifact(self.run_id, str(path))

    def fail(self) -> None:
        """Mark the run as failed, so that it does not appear as running."""
        if self.cur_run is not None:
            try:
                self.client.set_terminated(self.run_id, status="FAILED")
            except FAILURES:
                logger.warning("MLflow: run %s could not be marked as failed in %s", self.run_id, self.address)


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The plain top-level values of a config, without expressions and components."""
    return {key: str(value)[:LONGEST_PARAMETER] for key, value in config.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and not value.startswith(CODE))

"""MLflow as its users review it: one run a training, parameters, losses, metrics, pictures, config and weights."""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from retina_monai.errors import RetinaError
from retina_monai.files import make_folder, write_json

__all__ = ["Tracker", "sqlite_uri"]

logger = logging.getLogger("retina_monai")
LONGEST_PARAMETER = 500
SECONDS_TO_ANSWER = 5


class Tracker(MLFlowHandler):
    """MONAI's ``MLFlowHandler``, with a run of its own per training and all that a reviewer looks for in it.

    Epoch means of the losses and the validation metrics are logged at the trainer's epoch; parameters, the data set's
    fingerprint and the config when the run starts; each picture when it is drawn; weights at the end, as plain files.
    ``MLFLOW_TRACKING_URI`` wins over ``tracking_uri``, as in MONAI.

    Args:
        tracking_uri: of a server, or ``sqlite:///...``.
        experiment_name: the bundle's name.
        output_dir: its last folder is part of the run's name; ``config.json`` is written there.
        config: the config as run; its plain top-level values are logged as parameters.
        fingerprint: of the data set, logged as parameter ``dataset_fingerprint``.
        evaluator: its metrics are logged too.
        artifacts: files to log when the training ends; those that exist.
        required: whether a server that does not answer is an error; if not, training goes on untracked.
        enabled: whether to track at all (and on rank 0 only).

    Attributes:
        run_id: of the run in use; set before the start, that run is gone on with.

    Raises:
        RetinaError: a required server does not answer, or the address is none of MLflow's.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        output_dir: str | Path,
        config: Mapping[str, Any] | None = None,
        fingerprint: str = "",
        evaluator: Engine | None = None,
        artifacts: tuple[str, ...] | list[str] = (),
        required: bool = True,
        enabled: bool = True,
    ) -> None:
        address = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        self.enabled = enabled and _answers(address, required)
        self.run_id: str | None = None
        if not self.enabled:
            return
        if address.startswith("sqlite:///"):
            make_folder(Path(address[len("sqlite:///") :]).parent)
        try:
            super().__init__(
                tracking_uri=tracking_uri, experiment_name=experiment_name, iteration_log=False, close_on_complete=True
            )
        except ValueError as error:
            raise RetinaError(
                f"tracking_uri {address} is not an address of MLflow: give sqlite:///FILE or http://HOST:PORT"
            ) from error
        self.output_dir = Path(output_dir)
        self.run_name = f"{self.output_dir.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.config = dict(config or {})
        self.fingerprint = fingerprint
        self.evaluator = evaluator
        self.artifacts = tuple(artifacts)
        logger.info("MLflow: %s, experiment %s", address, experiment_name)

    def attach(self, engine: Engine) -> None:
        if not self.enabled:
            return
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_pictures)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self.log_evaluation)

    def start(self, engine: Engine) -> None:
        """Create this training's run, or take up the one that was resumed; then log what does not change."""
        self._set_experiment()
        if self.run_id is None:
            experiment_id = self.experiment.experiment_id  # type: ignore[attr-defined]  # set by _set_experiment
            self.run_id = self.client.create_run(experiment_id, run_name=self.run_name).info.run_id
        else:
            self.client.update_run(self.run_id, status="RUNNING")
        self.cur_run = self.client.get_run(self.run_id)
        parameters = {**_parameters(self.config), "dataset_fingerprint": self.fingerprint}
        self._delete_exist_param_in_dict(parameters)
        self._log_params(parameters)
        super().start(engine)
        self.log_config()

    def log_config(self) -> None:
        """Write the config as run to ``output_dir`` and log it."""
        path = self.output_dir / "config.json"
        write_json(path, json.loads(json.dumps(self.config, default=str)))
        self.client.log_artifact(self.run_id, str(path))

    def log_evaluation(self, evaluator: Any) -> None:
        self._log_metrics(dict(evaluator.state.metrics), step=evaluator.state.epoch)
        self.log_pictures(evaluator)

    def log_pictures(self, engine: Engine) -> None:
        """Log the files that other handlers left in ``state.pictures``."""
        for path in getattr(engine.state, "pictures", ()):
            self.client.log_artifact(self.run_id, str(path), "pictures")

    def complete(self) -> None:
        """Log the files that the engine leaves."""
        for path in self.artifacts:
            if Path(path).is_file():
                self.client.log_artifact(self.run_id, str(path))

    def fail(self, engine: Engine, error: BaseException) -> None:
        """Mark the run as failed, so that nobody takes it for one that still goes on; the error goes on."""
        if self.run_id is not None:
            self.client.set_terminated(self.run_id, status="FAILED")
        raise error


def sqlite_uri(output_dir: str | Path) -> str:
    """Address of the SQLite store ``mlruns.db`` in a folder; MLflow keeps the files in ``mlruns`` beside it."""
    return path_to_sqlite_uri(Path(output_dir).resolve() / "mlruns.db")


def _answers(address: str, required: bool) -> bool:
    """Whether an HTTP server is there (MLflow itself would try for minutes); databases are not asked."""
    if not address.startswith(("http://", "https://")):
        return True
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError) as error:
        if required:
            raise RetinaError(
                f"the MLflow server {address} does not answer: start it, give another --tracking_uri, or go on "
                "without it with --tracking_required false"
            ) from error
    logger.warning("the MLflow server %s does not answer: training goes on untracked", address)
    return False


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The plain top-level values; expressions and components are in the config's file."""
    plain = {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str, list))}
    texts = {key: str(value)[:LONGEST_PARAMETER] for key, value in plain.items()}
    return {key: text for key, text in texts.items() if not text.startswith(("$", "@", "%"))}

"""MLflow as its users review it: one run a training, parameters, losses, metrics, pictures, config and weights."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ignite.engine import Engine, Events
from mlflow.exceptions import MlflowException
from monai.handlers import MLFlowHandler
from sqlalchemy.exc import SQLAlchemyError

from retina_monai.errors import RetinaError
from retina_monai.files import make_folder, write_json
from retina_monai.handlers.failure import on_failure
from retina_monai.settings import expand_home

__all__ = ["Tracker", "artifact_folder", "is_answering", "one_sentence", "sqlite_uri"]

logger = logging.getLogger("retina_monai")
LONGEST_PARAMETER = 500
SECONDS_TO_ANSWER = 5
SERVERS, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql", "databricks")


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
        RetinaError: a required server does not answer, or the address is none of MLflow's; while it runs, what is to be
            logged cannot be written (a full disk, say).
    """

    experiment: Any  # MONAI's handler declares it as None, and fills it in _set_experiment

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
        self.address = expand_home(os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri)
        self.enabled = enabled and is_answering(self.address, required)
        self.experiment_name = experiment_name
        self.output_dir = Path(output_dir)
        self.config = dict(config or {})
        self.fingerprint = fingerprint
        self.evaluator = evaluator
        self.files = tuple(artifacts)
        self.run_id: str | None = None
        self.cur_run = None

    def attach(self, engine: Engine) -> None:
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
        """Attach a handler whose failure to write is one sentence."""

        @wraps(handler)
        def named(*arguments: Any) -> None:
            with one_sentence(self.address, "train"):
                handler(*arguments)

        engine.add_event_handler(event, named)

    def start(self, engine: Engine) -> None:
        """Create this training's run, or take up the one that was resumed; then log what does not change."""
        self._connect()
        self._set_experiment()
        if self.run_id is None or not self._is_there(self.run_id):
            self.run_id = self.client.create_run(self.experiment.experiment_id, run_name=self.run_name).info.run_id
        else:
            self.client.update_run(self.run_id, status="RUNNING")
        self.cur_run = self.client.get_run(self.run_id)
        told_by_engine = set(self.default_tracking_params)  # as it runs: an override may go past the config's key
        parameters = {key: text for key, text in _parameters(self.config).items() if key not in told_by_engine}
        parameters["dataset_fingerprint"] = self.fingerprint
        self._delete_exist_param_in_dict(parameters)
        self._log_params(parameters)
        super().start(engine)
        self.log_config()

    def _connect(self) -> None:
        """Only now, since a client of a database makes the file: what is refused before the start leaves nothing."""
        name = f"{self.output_dir.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        super().__init__(
            tracking_uri=self.address,
            experiment_name=self.experiment_name,
            run_name=name,
            artifact_location=artifact_folder(self.address),
        )
        logger.info("MLflow: %s, experiment %s", self.address, self.experiment_name)

    def _is_there(self, run_id: str) -> bool:
        """Whether the run of a resumed training is in this store; it is not where the address was another."""
        try:
            self.client.get_run(run_id)
        except MlflowException:
            logger.warning("MLflow: run %s is not in %s, the resumed training gets a new one", run_id, self.address)
            return False
        return True

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
        for path in self.files:
            if Path(path).is_file():
                self.client.log_artifact(self.run_id, str(path))

    def fail(self) -> None:
        """Mark the run as failed, so that nobody takes it for one that is still running."""
        if self.cur_run is not None:
            try:
                self.client.set_terminated(self.run_id, status="FAILED")
            except (MlflowException, SQLAlchemyError, OSError):
                logger.warning("MLflow: run %s could not be marked as failed in %s", self.run_id, self.address)


def artifact_folder(address: str) -> str | None:
    """Where files of a SQLite store go: ``mlruns`` beside it, whose folder is made; a server knows it for itself."""
    if not address.startswith("sqlite:///"):
        return None
    folder = make_folder(Path(unquote(address[len("sqlite:///") :])).parent)  # encoded, which MONAI leaves as it is
    return (folder.resolve() / "mlruns").as_uri()


@contextmanager
def one_sentence(address: str, verb: str) -> Iterator[None]:
    """Whatever MLflow or its database raises becomes one sentence with its address and the reason.

    Args:
        address: that is written to.
        verb: what could be done without MLflow.

    Raises:
        RetinaError: MLflow cannot write.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = "no space left on its disk" if _is_full(error) else str(error).partition("\n")[0]
        raise RetinaError(
            f"MLflow cannot write to {address} ({reason}): mend that, give another --tracking_uri, or {verb} with "
            "--mlflow false"
        ) from error


def _is_full(error: BaseException) -> bool:
    """Whether a file's or SQLite's own words, which other errors hand on, say that a disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in str(error)


def sqlite_uri(output_dir: str | Path) -> str:
    """Address of the SQLite store ``mlruns.db`` in a folder; the tracker keeps the files in ``mlruns`` beside it.

    Only what an address cannot hold is percent-encoded: MLflow makes the folder of the address as it is written.
    """
    path = (Path(output_dir).resolve() / "mlruns.db").as_posix()
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")


def is_answering(address: str, required: bool = True, otherwise: str = "--tracking_required false") -> bool:
    """Whether an HTTP server is there (MLflow itself would try for minutes); databases are not asked.

    Args:
        address: of a server, or of a database.
        required: whether a server that does not answer is an error.
        otherwise: the option with which one goes on without it.

    Raises:
        RetinaError: it is none of MLflow's addresses, or a required server does not answer.
    """
    scheme = re.match(r"(\w+)(\+\w+)?://", address)
    if scheme is None or scheme[1] not in SERVERS + DATABASES:
        raise RetinaError(
            f"tracking_uri {address} is not an address of MLflow: give sqlite:///FILE or http://HOST:PORT"
        )
    if scheme[1] in DATABASES:
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
                f"without it with {otherwise}"
            ) from error
    logger.warning("the MLflow server %s does not answer: training goes on untracked", address)
    return False


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The plain top-level values; expressions and components are in the config's file."""
    plain = {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str, list))}
    texts = {key: str(value)[:LONGEST_PARAMETER] for key, value in plain.items()}
    return {key: text for key, text in texts.items() if not text.startswith(("$", "@", "%"))}

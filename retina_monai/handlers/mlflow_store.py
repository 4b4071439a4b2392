"""Where MLflow keeps runs: addresses, whether one can be written to, and how a run is presented in MLflow's page."""

from __future__ import annotations

import errno
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

import mlflow
import sqlalchemy
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE
from sqlalchemy.exc import SQLAlchemyError

from retina_monai.errors import RetinaError
from retina_monai.files import make_folder

__all__ = [
    "FAILURES",
    "artifact_folder",
    "dataset_input",
    "experiment_id",
    "is_usable",
    "one_sentence",
    "run_page",
    "source_tags",
    "sqlite_uri",
]

logger = logging.getLogger("retina_monai")
SECONDS_TO_ANSWER = 5
SERVERS, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql", "databricks")
FAILURES = (MlflowException, SQLAlchemyError, CommandError, OSError, ImportError)
"""What MLflow, its database and the database's driver raise."""

KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Tag of an experiment, and its value for trainings: else MLflow 3 asks what it is, or shows its view for GenAI."""
VIEW = "workflowType=machine_learning"  # in an address of MLflow's page; the tag alone does not choose the view there
DIGITS = 12  # of a fingerprint, in lists; MLflow has room for 36


def sqlite_uri(output_dir: str | Path) -> str:
    """Address of the SQLite store ``mlruns.db`` in a folder; the tracker keeps the files in ``mlruns`` beside it.

    Only what an address cannot hold is percent-encoded: MLflow makes the folder of the address as it is written.
    """
    path = (Path(output_dir).resolve() / "mlruns.db").as_posix()
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")


def artifact_folder(address: str) -> str | None:
    """Where files of a SQLite store go: ``mlruns`` beside it, whose folder is made; a server knows it for itself."""
    database = _sqlite_file(address)
    if database is None:
        return None
    folder = make_folder(database.parent)  # decoded, which MONAI does not do
    return (folder.resolve() / "mlruns").as_uri()


def is_usable(
    address: str, experiment: str, required: bool = True, otherwise: str = "--tracking_required false"
) -> bool:
    """Whether a run can be written to an experiment; nothing is written, and no database made, to find out.

    Args:
        address: of a server, or of a database.
        experiment: its name; one that does not exist yet can be written to.
        required: whether it is an error if not.
        otherwise: the option with which one continues without MLflow.

    Raises:
        RetinaError: the address is none of MLflow's. If ``required``: the server does not answer; the database cannot
            be opened, or belongs to something else or to another version of MLflow; the experiment was deleted.
    """
    scheme = re.match(r"(\w+)(\+\w+)?://", address)
    if scheme is None or scheme[1] not in SERVERS + DATABASES:
        raise RetinaError(
            f"tracking_uri {address} is not an address of MLflow: give sqlite:///FILE or http://HOST:PORT"
        )
    try:
        if scheme[1] in SERVERS:
            _refuse_silent(address, otherwise)
        elif not _refuse_foreign(address, otherwise):
            return True
        _refuse_deleted(address, experiment, otherwise)
    except RetinaError as error:
        if required:
            raise
        logger.warning("%s; the run is not tracked", str(error).partition(": ")[0])
        return False
    return True


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
    except FAILURES as error:
        reason = "no space left on its disk" if _is_full(error) else str(error).partition("\n")[0]
        raise RetinaError(
            f"MLflow cannot write to {address} ({reason}): mend that, give another --tracking_uri, or {verb} with "
            "--mlflow false"
        ) from error


def experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The experiment of a name, made if need be, and marked as one of trainings unless it is marked already.

    Args:
        client: of the store.
        name: of the experiment.
        artifacts: where the files of a new one go; ``None``: the server knows.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifacts, tags={KIND: TRAINING}))
    if KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    return str(found.experiment_id)


def run_page(address: str, experiment: str, run_id: str) -> str:
    """How to open a run in the browser, in MLflow's view for trainings: its address, or how a database is served."""
    place = f"#/experiments/{experiment}/runs/{run_id}?{VIEW}"
    if address.startswith(SERVERS):
        return f"{address.rstrip('/')}/{place}"
    return f"http://127.0.0.1:5000/{place} once mlflow ui --backend-store-uri {address} runs"


def source_tags(name: str) -> dict[str, str]:
    """What MLflow shows as the source of a run: a name without paths, and the commit of a checkout of this package."""
    root = Path(__file__).resolve().parents[2]
    commit = get_git_commit(str(root)) if (root / ".git").exists() else None
    tags = {MLFLOW_SOURCE_NAME: name, MLFLOW_SOURCE_TYPE: "LOCAL", "retina_monai": version("retina_monai")}
    return tags | ({MLFLOW_GIT_COMMIT: commit} if commit else {})


def dataset_input(
    names: Sequence[str], fingerprint: str, eyes: Mapping[str, int], context: str = "training"
) -> DatasetInput:
    """A data set as MLflow lists it with a run.

    Args:
        names: of the sets that were put together.
        fingerprint: :func:`retina_monai.data.fingerprint`; its first 12 digits are shown, all of them are a parameter.
        eyes: how many there are, by split.
        context: what the run uses it for.
    """
    source = json.dumps({"datasets": list(names)})
    dataset = Dataset(
        " + ".join(names), fingerprint[:DIGITS], "retina_monai", source, profile=json.dumps({"eyes": eyes})
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def _sqlite_file(address: str) -> Path | None:
    return Path(unquote(address[len("sqlite:///") :])) if address.startswith("sqlite:///") else None


def _is_full(error: BaseException) -> bool:
    """Whether a file's or SQLite's own words, which other errors hand on, say that a disk is full."""
    return getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in str(error)


def _refuse_silent(address: str, otherwise: str) -> None:
    """Ask an HTTP server whether it is there; MLflow itself would try for minutes."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER):
            return
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise RetinaError(
            f"the MLflow server {address} does not answer: start it, give another --tracking_uri, or continue "
            f"without it with {otherwise}"
        ) from error


def _refuse_foreign(address: str, otherwise: str) -> bool:
    """Whether a database holds tables of MLflow; one that is missing or empty will get them.

    MLflow would add its tables to those of other programs, and migrate a database of another version of its own.
    """
    database = _sqlite_file(address)
    if address.startswith("databricks") or (database is not None and not database.exists()):
        return False
    advice = f"give another --tracking_uri, or continue without it with {otherwise}"
    try:
        engine = sqlalchemy.create_engine(address)
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            tables = sqlalchemy.inspect(connection).get_table_names()
        engine.dispose()
    except FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise RetinaError(f"the database {address} cannot be opened ({reason}): {advice}") from error
    if found is None and set(tables) <= {"alembic_version", *Base.metadata.tables}:
        return False  # none yet, or those that MLflow had made when its disk was full
    if found is None:
        raise RetinaError(f"{address} is a database of something else than MLflow: {advice}")
    if found != _schema_version():
        raise RetinaError(
            f"the database {address} belongs to another version of MLflow than {mlflow.__version__}: back it up and "
            f"run mlflow db upgrade {address}, {advice}"
        )
    return True


def _schema_version() -> str | None:
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    return scripts.get_current_head()


def _refuse_deleted(address: str, name: str, otherwise: str) -> None:
    try:
        experiment: Experiment | None = MlflowClient(tracking_uri=address).get_experiment_by_name(name)
    except FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise RetinaError(
            f"MLflow cannot read {address} ({reason}): mend that, give another --tracking_uri, or continue without it "
            f"with {otherwise}"
        ) from error
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise RetinaError(
            f"the MLflow experiment {name} in {address} was deleted: restore it with mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}, give another --tracking_uri, or continue without it with "
            f"{otherwise}"
        )

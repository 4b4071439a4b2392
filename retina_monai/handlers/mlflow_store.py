"""MLflow stores: addresses, whether a store is usable, and how a run appears in the MLflow UI."""

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
"""Exceptions raised by MLflow, its database and the database driver."""

KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Tag of an experiment and its value for trainings. Without it, MLflow 3 asks for the kind or shows its GenAI view."""
VIEW = "workflowType=machine_learning"  # URL query that selects the view for trainings; the tag alone does not
DIGITS = 12  # of a fingerprint in lists; MLflow's limit is 36


def sqlite_uri(output_dir: str | Path) -> str:
    """Address of the SQLite store ``mlruns.db`` in a folder; artifacts are stored in ``mlruns`` next to it.

    Only ``%`` and ``?`` are percent-encoded, because MLflow creates the folder from the address without decoding it.
    """
    path = (Path(output_dir).resolve() / "mlruns.db").as_posix()
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")


def artifact_folder(address: str) -> str | None:
    """Artifact folder ``mlruns`` next to a SQLite store, whose parent is created; ``None`` for other stores."""
    database = _sqlite_file(address)
    if database is None:
        return None
    folder = make_folder(database.parent)  # decoded, which MONAI does not do
    return (folder.resolve() / "mlruns").as_uri()


def is_usable(
    address: str, experiment: str, required: bool = True, otherwise: str = "--tracking_required false"
) -> bool:
    """Whether a run can be logged to an experiment. The check writes nothing and creates no database.

    Args:
        address: address of a server or database.
        experiment: name of the experiment, which need not exist yet.
        required: whether to raise an error if the store is unusable.
        otherwise: command-line option to continue without MLflow, for error messages.

    Raises:
        RetinaError: the address is not an MLflow address. If ``required``, also: the server does not answer; the
            database cannot be opened, or belongs to another program or version of MLflow; the experiment was deleted.
    """
    scheme = re.match(r"(\w+)(\+\w+)?://", address)
    if scheme is None or scheme[1] not in SERVERS + DATABASES:
        raise RetinaError(f"tracking_uri {address} is not an MLflow address: give sqlite:///FILE or http://HOST:PORT")
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
    """Convert exceptions of MLflow and its database to a one-sentence error with the address and the reason.

    Args:
        address: address of the store.
        verb: action to repeat without MLflow, for the error message.

    Raises:
        RetinaError: MLflow cannot write.
    """
    try:
        yield
    except FAILURES as error:
        reason = "no space left on its disk" if _is_full(error) else str(error).partition("\n")[0]
        raise RetinaError(
            f"MLflow cannot write to {address} ({reason}): fix that, give another --tracking_uri, or {verb} with "
            "--mlflow false"
        ) from error


def experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """ID of an experiment, which is created if missing and tagged for trainings if it has no kind.

    Args:
        client: client of the store.
        name: name of the experiment.
        artifacts: artifact folder of a new experiment; ``None`` uses the server's default.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifacts, tags={KIND: TRAINING}))
    if KIND not in found.tags:
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    return str(found.experiment_id)


def run_page(address: str, experiment: str, run_id: str) -> str:
    """URL of a run in MLflow's view for trainings; for a database with the command that serves it."""
    place = f"#/experiments/{experiment}/runs/{run_id}?{VIEW}"
    if address.startswith(SERVERS):
        return f"{address.rstrip('/')}/{place}"
    return f"http://127.0.0.1:5000/{place} once mlflow ui --backend-store-uri {address} runs"


def source_tags(name: str) -> dict[str, str]:
    """Tags for the source of a run in MLflow: a name without paths, and the commit of this package's checkout."""
    root = Path(__file__).resolve().parents[2]
    commit = get_git_commit(str(root)) if (root / ".git").exists() else None
    tags = {MLFLOW_SOURCE_NAME: name, MLFLOW_SOURCE_TYPE: "LOCAL", "retina_monai": version("retina_monai")}
    return tags | ({MLFLOW_GIT_COMMIT: commit} if commit else {})


def dataset_input(
    names: Sequence[str], fingerprint: str, eyes: Mapping[str, int], context: str = "training"
) -> DatasetInput:
    """A data set in the form in which MLflow lists it with a run.

    Args:
        names: names of the combined data sets.
        fingerprint: :func:`retina_monai.data.fingerprint`; the list shows its first 12 digits.
        eyes: number of eyes by split.
        context: what the run uses the data for.
    """
    source = json.dumps({"datasets": list(names)})
    dataset = Dataset(
        " + ".join(names), fingerprint[:DIGITS], "retina_monai", source, profile=json.dumps({"eyes": eyes})
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def _sqlite_file(address: str) -> Path | None:
    return Path(unquote(address[len("sqlite:///") :])) if address.startswith("sqlite:///") else None


def _is_full(error: BaseException) -> bool:
    """Whether an error, possibly wrapping that of a file or of SQLite, reports a full disk."""
    return getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in str(error)


def _refuse_silent(address: str, otherwise: str) -> None:
    """Check that an HTTP server answers; MLflow itself would retry for minutes."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER):
            return
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise RetinaError(
            f"the MLflow server {address} does not answer: start it, give another --tracking_uri, or "
            f"{otherwise} to continue without MLflow"
        ) from error


def _refuse_foreign(address: str, otherwise: str) -> bool:
    """Reject a database of another program or MLflow version; return whether the database has MLflow's tables.

    MLflow itself would add its tables to those of another program, and migrate a database of another version.
    """
    database = _sqlite_file(address)
    if address.startswith("databricks") or (database is not None and not database.exists()):
        return False
    advice = f"give another --tracking_uri, or {otherwise} to continue without MLflow"
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
        return False  # empty, or left incomplete by a full disk
    if found is None:
        raise RetinaError(f"{address} is not a database of MLflow: {advice}")
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
            f"MLflow cannot read {address} ({reason}): fix that, give another --tracking_uri, or {otherwise} to "
            "continue without MLflow"
        ) from error
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise RetinaError(
            f"the MLflow experiment {name} in {address} was deleted: restore it with mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}, give another --tracking_uri, or {otherwise} to continue "
            "without MLflow"
        )

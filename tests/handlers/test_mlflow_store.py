"""A store that cannot be used is refused in a sentence, before anything is written to it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from mlflow import MlflowClient

from retina_monai.errors import RetinaError
from retina_monai.handlers import sqlite_uri
from retina_monai.handlers.mlflow_store import dataset_input, experiment_id, is_usable, run_page, source_tags


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an experiment, and one that was deleted."""
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(sqlite_uri(folder))
    experiment_id(client, "kept", None)
    client.delete_experiment(client.create_experiment("deleted"))
    return folder / "mlruns.db"


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(template, tmp_path / "mlruns.db"))


def execute(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return change


def replace(content: bytes | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return change


def digest(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


OLDER = execute("UPDATE alembic_version SET version_num = 'abc'")
WITHOUT_NEW_TABLES = execute("UPDATE alembic_version SET version_num = 'abc'", "DROP TABLE entity_associations")


def foreign(path: Path) -> None:
    replace(None)(path)
    execute("CREATE TABLE patients (name TEXT)")(path)


@pytest.mark.parametrize(
    ("change", "experiment", "sentence"),
    [
        (execute(), "deleted", r"^the MLflow experiment deleted in .* was deleted: restore it with mlflow experiments"),
        (OLDER, "kept", "belongs to another version of MLflow than .* mlflow db upgrade sqlite:///"),
        (WITHOUT_NEW_TABLES, "kept", "belongs to another version of MLflow than"),
        (foreign, "kept", "is not a database of MLflow"),
        (replace(b"no database at all" * 99), "kept", r"cannot be opened \(.*file is not a database\)"),
    ],
)
def test_an_unusable_store_is_refused_and_left_as_it_is(
    store: Path, change: Callable[[Path], None], experiment: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    change(store)
    before = digest(store.parent)
    with pytest.raises(RetinaError, match=sentence):
        is_usable(sqlite_uri(store.parent), experiment)
    assert not is_usable(sqlite_uri(store.parent), experiment, required=False)
    assert "the run is not tracked" in caplog.text
    assert digest(store.parent) == before


@pytest.mark.parametrize("change", [execute(), replace(b""), replace(None)])
@pytest.mark.parametrize("experiment", ["kept", "new"])
def test_a_usable_store_is_left_as_it_is(store: Path, change: Callable[[Path], None], experiment: str) -> None:
    change(store)
    before = digest(store.parent)
    assert is_usable(sqlite_uri(store.parent), experiment)
    assert digest(store.parent) == before


def test_a_restored_experiment_is_usable(store: Path) -> None:
    client = MlflowClient(sqlite_uri(store.parent))
    found = client.get_experiment_by_name("deleted")
    assert found is not None
    client.restore_experiment(found.experiment_id)
    assert is_usable(sqlite_uri(store.parent), "deleted")
    assert experiment_id(client, "deleted", None) == found.experiment_id


def test_a_database_whose_driver_is_not_installed_is_refused() -> None:
    with pytest.raises(RetinaError, match=r"the database mysql\+oursql://.* cannot be opened"):
        is_usable("mysql+oursql://nobody@127.0.0.1/none", "kept")


def test_a_server_that_does_not_answer_is_refused() -> None:
    address = "http://127.0.0.1:9"  # the discard service, which no machine runs any more
    with pytest.raises(RetinaError, match=f"the MLflow server {address} does not answer: .*--tracking_required false"):
        is_usable(address, "kept")
    assert not is_usable(address, "kept", required=False)


@pytest.mark.parametrize("kind", [None, "regression"])
def test_an_experiment_is_one_of_trainings_unless_somebody_said_otherwise(store: Path, kind: str | None) -> None:
    client = MlflowClient(sqlite_uri(store.parent))
    tags = {} if kind is None else {"mlflow.experimentKind": kind}
    client.create_experiment("older", tags=tags)
    found = client.get_experiment(experiment_id(client, "older", None))
    assert found.tags["mlflow.experimentKind"] == (kind or "custom_model_development")
    assert client.get_experiment_by_name("kept").tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_page_opens_in_the_view_for_trainings() -> None:
    expected = "http://host:1/#/experiments/3/runs/ab?workflowType=machine_learning"
    assert run_page("http://host:1/", "3", "ab") == expected
    local = run_page("sqlite:////a.db", "3", "ab")
    assert "workflowType=machine_learning" in local and "mlflow ui --backend-store-uri sqlite:////a.db" in local


def test_source_and_data_set_name_no_folder_of_this_machine() -> None:
    tags = source_tags("monai.bundle run: pix2pix_vessel")
    assert tags["mlflow.source.name"] == "monai.bundle run: pix2pix_vessel" and tags["mlflow.source.type"] == "LOCAL"
    root = str(Path(__file__).resolve().parents[2])
    given = dataset_input(["HRF", "STARE"], "0123456789abcdef", {"training": 3, "test": 2})
    assert (given.dataset.name, given.dataset.digest) == ("HRF + STARE", "0123456789ab")
    assert given.dataset.profile == '{"eyes": {"training": 3, "test": 2}}'
    assert root not in "".join([*tags.values(), given.dataset.source, given.dataset.profile])

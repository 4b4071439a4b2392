"""Tracking into SQLite beside the training, whatever the folder is called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ignite.engine import Engine, Events
from mlflow import MlflowClient
from mlflow.entities import Run

from retina_monai.errors import RetinaError
from retina_monai.handlers import Tracker, sqlite_uri


@pytest.mark.parametrize("name", ["plain", "with a space, and # more", "umläut"])
def test_everything_lies_in_the_folder_itself(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "model.pt").write_bytes(b"weights")
    tracker = Tracker(sqlite_uri(folder), "bundle", folder, {"seed": 0}, "f00", artifacts=[str(folder / "model.pt")])
    engine = Engine(lambda engine, batch: None)
    tracker.attach(engine)
    engine.run([0], max_epochs=1)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(list(folder.glob("mlruns/*/artifacts/model.pt"))) == 1
    client = MlflowClient(sqlite_uri(folder))
    (run,) = client.search_runs([client.get_experiment_by_name("bundle").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset_fingerprint"] == "f00" and run.data.params["seed"] == "0"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"model.pt", "config.json"}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    MlflowClient(sqlite_uri(folder))
    return folder / "mlruns.db"


@pytest.fixture
def folder(empty_store: Path, tmp_path: Path) -> Path:
    """A folder with a store whose tables are made, which takes seconds."""
    shutil.copy(empty_store, tmp_path)
    return tmp_path


class Trainer(Engine):
    """An engine that explains its losses; ``epochs`` of them are behind it when it starts, as where it is resumed."""

    loss_meanings: ClassVar[dict[str, str]] = {"g_l1": "mean absolute difference"}

    def __init__(self, epochs: int = 0) -> None:
        super().__init__(lambda engine, batch: None)

        @self.on(Events.STARTED)
        def resume() -> None:
            self.state.epoch = self.state.iteration = epochs


EYES = {"training": [{"dataset": "STARE"}, {"dataset": "HRF"}], "validation": [{"dataset": "HRF"}]}
CONFIG = {
    "_meta_": {"version": "0.3.0"},
    "imports": ["$import os"],
    "betas": [0.5, 0.9],
    "norm": "batch",
    "ema": True,
    "weights": None,
    "size": "@other",
    "training": ["$@trainer.run()"],
    "nested": {"a": 1},
    "mixed": [1, ["$2"]],
}


def train(folder: Path, config: dict[str, Any], run_id: str | None = None, epochs: int = 0) -> Run:
    """One more epoch of a training, which tracks."""
    tracker = Tracker(sqlite_uri(folder), "bundle", folder, config, "f" * 64, EYES)
    tracker.run_id = run_id
    engine = Trainer(epochs)
    tracker.attach(engine)
    engine.run([0], max_epochs=epochs + 1)
    return MlflowClient(sqlite_uri(folder)).get_run(str(tracker.run_id))


def test_a_run_says_where_it_comes_from_and_what_its_losses_mean(folder: Path) -> None:
    run = train(folder, CONFIG)
    assert run.data.tags["mlflow.source.name"] == "monai.bundle run: bundle 0.3.0"
    assert {key: run.data.tags[key] for key in ("bundle", "bundle_version", "datasets")} == {
        "bundle": "bundle",
        "bundle_version": "0.3.0",
        "datasets": "HRF, STARE",
    }
    note = run.data.tags["mlflow.note.content"]
    assert "2 training, 1 validation, 0 test" in note and "| `g_l1` | mean absolute difference |" in note
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("HRF + STARE", "f" * 12)
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}
    assert set(run.data.params) == {"betas", "norm", "ema", "dataset_fingerprint", "max_epochs", "epoch_length"}


def test_a_resumed_run_names_the_settings_that_changed(folder: Path) -> None:
    first = train(folder, CONFIG)
    second = train(folder, CONFIG | {"norm": "instance"}, first.info.run_id, epochs=1)
    assert second.info.run_id == first.info.run_id
    expected = "norm instance (was batch)"
    assert second.data.tags["resumed_after_epoch_1"] == expected
    assert f"Resumed after epoch 1 with other settings: {expected}." in second.data.tags["mlflow.note.content"]
    assert "| `g_l1` |" in second.data.tags["mlflow.note.content"]
    again = train(folder, CONFIG, first.info.run_id, epochs=1)
    assert "resumed_after_epoch_1" not in again.data.tags


def test_a_deleted_run_is_not_continued(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = train(folder, CONFIG)
    MlflowClient(sqlite_uri(folder)).delete_run(first.info.run_id)
    second = train(folder, CONFIG, first.info.run_id, epochs=1)
    assert second.info.run_id != first.info.run_id and second.info.status == "FINISHED"
    assert f"MLflow: run {first.info.run_id} was deleted, the resumed training gets a new one" in caplog.text


@pytest.mark.parametrize("enabled", [True, False])
def test_what_a_metric_consists_of_is_kept_with_and_without_mlflow(folder: Path, enabled: bool) -> None:
    tracker = Tracker(sqlite_uri(folder), "bundle", folder, CONFIG, enabled=enabled)
    engine = Trainer()
    tracker.attach(engine)

    @engine.on(Events.EPOCH_STARTED)
    def measure() -> None:
        engine.state.formulas = {"selection": "faithfulness without KID"}

    engine.run([0], max_epochs=1)
    record = json.loads((folder / "config.json").read_text())["record"]
    assert record["formulas"] == {"selection": "faithfulness without KID"}
    if enabled:
        client = MlflowClient(sqlite_uri(folder))
        assert client.get_run(str(tracker.run_id)).data.tags["selection"] == "faithfulness without KID"
        path = client.download_artifacts(str(tracker.run_id), "config.json", str(folder))
        assert json.loads(Path(path).read_text())["record"] == record
    assert (MlflowClient(sqlite_uri(folder)).get_experiment_by_name("bundle") is not None) is enabled


def test_nothing_is_written_where_the_experiment_was_deleted(folder: Path) -> None:
    client = MlflowClient(sqlite_uri(folder))
    client.delete_experiment(client.create_experiment("bundle"))
    with pytest.raises(RetinaError, match=r"experiment bundle in .* was deleted"):
        Tracker(sqlite_uri(folder), "bundle", folder / "run")
    assert [path.name for path in folder.iterdir()] == ["mlruns.db"]


@pytest.mark.parametrize("address", ["nonsense", "file://mlruns", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(RetinaError, match=f"tracking_uri {address} is not an MLflow address"):
        Tracker(address, "bundle", tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_logged_ends_the_training_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture that does not fit the disk; nor does the database take the news that the run failed."""
    tracker = Tracker(sqlite_uri(tmp_path), "bundle", tmp_path)
    engine = Engine(lambda engine, batch: None)
    tracker.attach(engine)

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    @engine.on(Events.EPOCH_STARTED)
    def fill_the_disk() -> None:
        engine.state.pictures = ["epoch_0001.png"]  # as PictureGrid leaves it
        monkeypatch.setattr(tracker.client, "log_artifact", full)
        monkeypatch.setattr(tracker.client, "set_terminated", full)

    with pytest.raises(RetinaError) as caught:
        engine.run([0], max_epochs=1)
    assert str(caught.value) == (
        f"MLflow cannot write to {sqlite_uri(tmp_path)} (no space left on its disk): fix that, give another "
        "--tracking_uri, or train with --mlflow false"
    )
    assert "could not be marked as failed" in caplog.text


def test_an_error_of_the_training_itself_is_handed_on_and_the_run_has_failed(tmp_path: Path) -> None:
    def stumble(engine: Engine, batch: object) -> None:
        raise ZeroDivisionError

    tracker = Tracker(sqlite_uri(tmp_path), "bundle", tmp_path)
    engine = Engine(stumble)
    tracker.attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([0], max_epochs=1)
    assert MlflowClient(sqlite_uri(tmp_path)).get_run(str(tracker.run_id)).info.status == "FAILED"

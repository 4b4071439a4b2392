"""Tracking into SQLite beside the training, whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from mlflow import MlflowClient

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


@pytest.mark.parametrize("address", ["nonsense", "file://mlruns", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(RetinaError, match=f"tracking_uri {address} is not an address of MLflow"):
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
        f"MLflow cannot write to {sqlite_uri(tmp_path)} (no space left on its disk): mend that, give another "
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

"""Tracking into SQLite beside the training, whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Engine
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

"""What is the encoder's own among the bundles: features of a folder, a sensitivity report, a resumed training."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser, ConfigWorkflow

from retina_monai.data.files.reading import read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.errors import root_error
from retina_monai.networks import RetinaEncoder

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "retina_encoder" / "configs"
TRAIN, INFERENCE = CONFIGS / "train.json", CONFIGS / "inference.json"
PARTS = ("networks.encoder", "optimizers.encoder", "averaged")

Run = Callable[..., ConfigParser]


@pytest.fixture(scope="module")
def trained(run_config: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs without an interruption."""
    folder = tmp_path_factory.mktemp("encoder") / "run"
    run_config(TRAIN, output_dir=str(folder), max_epochs=2, batch_size=1)
    return folder


def checkpoint(folder: Path, epoch: int) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list | tuple) else [value]


def same(first: Any, second: Any) -> bool:
    pairs = zip(leaves(first), leaves(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_what_is_written_are_weights_of_the_encoder_alone(trained: Path) -> None:
    arguments = json.loads((trained / "network.json").read_text())
    assert arguments == {
        "_target_": "RetinaEncoder",
        "features": 4,
        "width": 16,
        "size": 64,
    }
    released = torch.load(trained / "model.pt", weights_only=True)
    assert released.keys() == RetinaEncoder(4, 16, 64).state_dict().keys()
    averaged = [checkpoint(trained, epoch)["averaged"] for epoch in (1, 2)]
    assert any(all(torch.equal(v, state[f"module.encoder.{k}"]) for k, v in released.items()) for state in averaged)
    assert (trained / "pictures" / "epoch_0002.png").is_file()


def test_a_training_that_is_interrupted_goes_on_as_if_it_had_not_been(
    trained: Path, run_config: Run, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(trained / "checkpoints" / "epoch_0001.pt", tmp_path / "checkpoints")
    run_config(TRAIN, output_dir=str(tmp_path), max_epochs=2, batch_size=1, resume="true", num_workers=2)
    expected, found = checkpoint(trained, 2), checkpoint(tmp_path, 2)
    assert [part for part in PARTS if not same(expected[part], found[part])] == []
    first = checkpoint(trained, 1)
    assert [part for part in PARTS if same(expected[part], first[part])] == [], "or it stood still"


def test_losses_and_metrics_are_tracked(run_config: Run, tmp_path: Path) -> None:
    run_config(TRAIN, output_dir=str(tmp_path / "run"), mlflow=True)
    client = MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("retina_encoder").experiment_id])
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == {"e_maps", "e_traits", "loss", "trait_accuracy", "map_accuracy"}


@pytest.fixture(scope="module")
def photographs(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder of three photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    for path in sorted((phantoms / "images").iterdir())[:3]:
        write_png(folder / path.name, read_photograph(path))
    return folder


def encode(run_config: Run, trained: Path, input_dir: Path, output_dir: Path, **overrides: Any) -> dict[str, Any]:
    paths = {"checkpoint": str(trained / "model.pt"), "input_dir": str(input_dir), "output_dir": str(output_dir)}
    run_config(INFERENCE, **(paths | overrides))
    with np.load(output_dir / "features.npz") as content:
        return dict(content)


def test_features_of_a_folder_are_those_of_the_network(
    trained: Path, photographs: Path, run_config: Run, tmp_path: Path
) -> None:
    found = encode(run_config, trained, photographs, tmp_path / "one", batch_size=1)
    assert found["names"].tolist() == ["phantom_00000", "phantom_00001", "phantom_00002"]
    assert found["features"].shape == (3, 4) and found["features"].dtype == np.float32
    assert json.loads(str(found["settings"]))["bundle"] == "retina_encoder"
    with (tmp_path / "one" / "features.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == found["names"].tolist()
    columns = [[float(row[f"feature_{index}"]) for index in range(4)] for row in rows]
    np.testing.assert_allclose(columns, found["features"], rtol=1e-6)
    together = encode(run_config, trained, photographs, tmp_path / "three", batch_size=3)
    np.testing.assert_allclose(together["features"], found["features"], rtol=1e-3, atol=1e-4)
    assert np.abs(found["features"][0] - found["features"][1]).max() > 1e-3


def test_features_of_a_data_set_carry_patients(trained: Path, phantoms: Path, run_config: Run, tmp_path: Path) -> None:
    found = encode(run_config, trained, phantoms, tmp_path / "set")
    assert len(found["features"]) == 8 and found["patients"][3] == "phantom/0-00003"


def refusal(run_config: Run, trained: Path, folder: Path, output_dir: Path, **overrides: Any) -> str:
    with pytest.raises(Exception) as caught:
        encode(run_config, trained, folder, output_dir, **overrides)
    return str(root_error(caught.value))


def test_mistakes_are_named_at_the_door(trained: Path, photographs: Path, run_config: Run, tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    shutil.copytree(photographs, broken)
    (broken / "cut.png").write_bytes((photographs / "phantom_00000.png").read_bytes()[:200])
    out = tmp_path / "out"
    assert f"{empty} holds no photograph: it takes .png" in refusal(run_config, trained, empty, out)
    assert "absent is not a directory" in refusal(run_config, trained, tmp_path / "absent", out)
    assert "cut.png is damaged, truncated" in refusal(run_config, trained, broken, out)
    assert "there is no checkpoint" in refusal(run_config, trained, photographs, out, checkpoint=str(empty / "no.pt"))
    assert not out.exists()
    assert len(encode(run_config, trained, broken, out, skip_unreadable="true")["names"]) == 3
    assert "out already holds features.npz" in refusal(run_config, trained, photographs, out)


def test_the_sensitivity_of_an_encoder_is_reported(
    trained: Path, phantoms: Path, run_config: Run, tmp_path: Path
) -> None:
    run_config(
        [TRAIN, CONFIGS / "evaluate.json"],
        dataset_dir=str(phantoms),
        checkpoint=str(trained / "model.pt"),
        output_dir=str(tmp_path / "out"),
        splits=["training", "validation", "test"],
        mlflow=True,
    )
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["about"]["splits"] == ["training", "validation", "test"]
    assert len(content["sensitivity"]) == 7 * 3 and {row["eyes"] for row in content["sensitivity"]} == {8}
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == 9
    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("retina_encoder").experiment_id])
    assert run.info.status == "FINISHED"


def test_without_a_data_set_the_phantoms_are_ill(small_for: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    overrides = small_for(str(TRAIN)) | {
        "phantom_dir": str(tmp_path / "phantom"),
        "output_dir": str(tmp_path / "never"),
    }
    workflow = ConfigWorkflow(config_file=str(TRAIN), logging_file=False, **overrides)
    workflow.initialize()
    items = [item for split in workflow.parser.get_parsed_content("datalist").values() for item in split]
    assert len(items) == 8 and len({item["grade"] for item in items}) > 1
    assert all("atrophy" in item and "haemorrhages" in item for item in items)

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from retina_monai.data import find_datalist, fingerprint
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.pseudonyms import patient_keys
from retina_monai.data.listing.weights_origin import FILE, read_training, training_record
from retina_monai.errors import RetinaError
from retina_monai.files import write_json

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in ROOT.glob("bundles/*/models/model.pt"))
DRAWN = ["CHASE_DB1", "HRF", "HRF_rest", "FIVES"]
FOLDERS = {"iternet_vessel": DRAWN, "pix2pix_vessel": [*DRAWN, "IDRiD_grading"]}  # of sets in several parts


def write_eyes(folder: Path, *names: str) -> Path:
    """A data set of a user's own, with a picture of its own for each name."""
    for seed, name in enumerate(names):
        picture = np.random.default_rng(seed).integers(0, 255, (3, 16, 16)).astype(np.uint8)
        write_png(folder / "images" / f"{name}.png", picture, synthetic=False)
        write_png(folder / "vessels" / f"{name}.png", (picture[:1] > 200) * np.uint8(255), synthetic=False)
    return folder


def test_a_patient_of_a_users_own_is_known_by_the_files_and_not_by_a_name(tmp_path: Path) -> None:
    first, second = (write_eyes(tmp_path / name, "doe_jane", "roe") for name in ("clinic", "elsewhere"))
    (second / "images" / "doe_jane.png").rename(second / "images" / "other.png")
    (second / "vessels" / "doe_jane.png").rename(second / "vessels" / "other.png")
    keys = [sorted(map(patient_keys, find_datalist(folder)["training"])) for folder in (first, second)]

    assert len({key for eye in keys[0] for key in eye}) == len(keys[0]) * 2
    assert set(keys[0]) | set(keys[1]) == set(keys[0]), "neither folder nor file name counts"
    assert sha256(b"clinic/doe_jane").hexdigest()[:16] not in {key for eye in keys[0] for key in eye}


def test_a_published_patient_is_known_by_the_published_name() -> None:
    item = {"patient": "HRF/01_dr", "dataset": "HRF", "name": "HRF_01_dr", "image": "nowhere.png"}
    assert patient_keys(item) == (sha256(b"HRF/01_dr").hexdigest()[:16],)


def test_what_weights_started_from_counts_too(tmp_path: Path) -> None:
    datalist = find_datalist(write_eyes(tmp_path / "clinic", "a", "b", "c"))
    released = {"datasets": ["HRF"], "patients": ["0" * 16], "eyes": 9, "complete": True}
    texts = dict.fromkeys(("fingerprint", "date", "package", "monai", "torch"), "")
    write_json(tmp_path / "known" / FILE, released | texts)
    record = training_record(datalist, 3, [tmp_path / "known" / "model.pt", None])

    own = {key for item in datalist["training"] for key in patient_keys(item)}
    assert record["datasets"] == ["HRF", "clinic"]
    assert set(record["patients"]) == own | {"0" * 16}
    assert record["eyes"] == len(datalist["training"])
    assert record["fingerprint"] == fingerprint({"training": datalist["training"]})
    assert record["seed"] == 3
    assert record["complete"]
    assert not training_record(datalist, 3, [tmp_path / "unknown" / "model.pt"])["complete"]


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    assert read_training(tmp_path / "model.pt") is None
    (tmp_path / FILE).write_text(json.dumps({"patients": "all"}))
    with pytest.raises(RetinaError, match=FILE):
        read_training(tmp_path / "model.pt")


def test_a_training_writes_it_beside_the_weights(trained: Path) -> None:
    record = read_training(trained / "model.pt")
    assert record is not None
    assert record["datasets"] == ["phantom"]
    assert record["patients"] == [], "phantoms are nobody"
    assert record["eyes"] > 0


def test_every_bundle_records_its_trainings() -> None:
    for bundle in BUNDLES:
        config = ConfigParser.load_config_file(bundle / "configs" / "train.json")
        (handlers,) = config["train"]["handlers"]
        assert handlers["_target_"] == "retina_monai.handlers.TrainingHandlers", "which write training.json"
        assert "@initial_weights" in handlers["started_from"], bundle.name


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_released_weights_say_whom_they_know(bundle: Path, real_set: Callable[[str], Path]) -> None:
    record: Any = read_training(bundle / "models" / "model.pt")
    folders = FOLDERS.get(bundle.name, [name for name in record["datasets"] if name != "phantom"])
    datalist = find_datalist([real_set(name) for name in folders])
    keys = {split: {key for item in items for key in patient_keys(item)} for split, items in datalist.items()}
    if set(record["datasets"]) <= {"CHASE_DB1", "FIVES", "HRF"}:  # of others, not all eyes are used
        assert set(record["patients"]) == keys["training"]
    assert set(record["patients"]) & keys["training"]
    assert not set(record["patients"]) & (keys["validation"] | keys["test"])
    assert record["complete"]

"""A mistake costs a user one sentence: it names the file or the key, nothing follows it, and nothing was written.

One table (``wrong_input/cases.py``) for all entry points: training, evaluation and inference by ``monai.bundle run``,
and the verbs ``prepare``, ``synthesize`` and ``evaluate``. It proves that each goes through the readers and checks
that have their own tests.
"""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pytest
from monai.bundle import ConfigParser
from wrong_input.cases import CASES, Case
from wrong_input.material import Material, Overrides, contents, small_weights

from retina_monai.__main__ import VERBS
from retina_monai.data import LoadEyed, find_datalist, write_phantoms
from retina_monai.data.files.reading import read_array
from retina_monai.errors import root_error
from retina_monai.evaluation.measuring.eye_set import EyeSet, list_synthetic

BUNDLES = {
    "": "pix2pix_vessel",
    "iternet_": "iternet_vessel",
    "encoder_": "retina_encoder",
    "color_": "pix2pix_color_vessel",
    "lama_": "lama_fundus",
    "ddpm_": "ddpm_vessel",
}
CONFIG_FILES: dict[str, Any] = {}
DATA = {"synthesize": "input_dir", "evaluate": "synthetic_dir"}
for _start, _bundle in BUNDLES.items():
    _configs = Path(__file__).resolve().parents[1] / "bundles" / _bundle / "configs"
    CONFIG_FILES |= {
        f"{_start}training": _configs / "train.json",
        f"{_start}evaluation": [_configs / "train.json", _configs / "evaluate.json"],
        f"{_start}inference": _configs / "inference.json",
    }
    DATA |= {
        f"{_start}training": "dataset_dir",
        f"{_start}evaluation": "dataset_dir",
        f"{_start}inference": "input_dir",
    }
OWN: dict[str, Overrides] = {
    "iternet_training": {"allow_synthetic": True},
    "encoder_evaluation": {"splits": ["training", "validation", "test"]},
    "encoder_inference": {"batch_size": 1},
    "inference": {"texture": False, "keep_names": True},
    "lama_inference": {"texture": False, "keep_names": True},
    "ddpm_training": {"steps": 2},
    "ddpm_inference": {"texture": False, "steps": 2, "keep_names": True},
    "synthesize": {"texture": False, "keep_names": True},
}
"""What is right about a command, with phantoms for eyes; texture goes by an eye's place among those that are read, and
eyes are compared by their names."""
SIZE = 128

Outcome = dict[str, Any]
RunConfig = Callable[..., ConfigParser]
Entry = Callable[[str, Overrides, Path], Outcome]


def settings(entry: str, overrides: Overrides, folder: Path, phantoms: Path, trained: Path) -> Overrides:
    """What the case gives, and what is right about the command."""
    given = {key: value for key, value in overrides.items() if key not in ("data", "twin")}
    data = overrides.get("data", None if "count" in overrides else phantoms)
    complete = {"output_dir": folder / "output"} | ({} if data is None else {DATA.get(entry, "data"): data})
    if entry == "evaluate":
        complete |= {"real_dir": others(phantoms), "size": SIZE, "families": "image", "mlflow": False}
    elif entry != "prepare" and not entry.endswith("training"):
        complete |= {"checkpoint": weights(entry, phantoms, trained)}
    complete |= OWN.get(entry, {})
    return {key: str(value) if isinstance(value, Path) else value for key, value in (complete | given).items()}


def others(phantoms: Path) -> Path:
    """A real set to evaluate against: other phantoms, made once."""
    folder = phantoms.parent / "others"
    return folder if folder.is_dir() else write_phantoms(folder, 4, SIZE, seed=7)


def weights(entry: str, phantoms: Path, trained: Path) -> Path:
    """Those of the bundle; of the other bundles made once."""
    kind, _, task = entry.partition("_")
    folder = trained if not task else phantoms.parent / f"weights_{kind}"
    return folder / "model.pt" if folder.is_dir() else small_weights(folder, kind)


@pytest.fixture(scope="module")
def enter(run_config: RunConfig, phantoms: Path, trained: Path) -> Entry:
    """Run an entry point in this process; returns what it made of each patient's eye."""

    def run(entry: str, overrides: Overrides, folder: Path) -> Outcome:
        given = settings(entry, overrides, folder, phantoms, trained)
        if entry in CONFIG_FILES:
            parser = run_config(CONFIG_FILES[entry], **given)
            if entry.endswith("inference"):
                return (encoded if entry == "encoder_inference" else generated)(Path(given["output_dir"]))
            eyes = parser.get_parsed_content("train#eyes" if entry == "training" else "validate#dataset")
            if entry == "training":
                return by_patient([eyes.deterministic(place) for place in range(len(eyes))])
            return by_patient([parser.get_parsed_content("load_eye")(item) for item in eyes.data])
        fire.Fire(VERBS, command=command(entry, given))
        if entry == "evaluate":
            return evaluated(Path(given["output_dir"]), given["synthetic_dir"])
        return generated(Path(given["output_dir"])) if entry == "synthesize" else listed(given["output_dir"])

    return run


def command(entry: str, given: Overrides) -> list[str]:
    """The arguments of a verb."""
    if entry == "prepare":
        options = {"output": f"{given['output_dir']}/datalist.json"}
        options |= {key: value for key, value in given.items() if key == "skip_unreadable"}
        return [entry, given["data"], *(f"--{key}={value}" for key, value in options.items())]
    return [entry, *(f"--{key}={value}" for key, value in given.items())]


def generated(folder: Path) -> Outcome:
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    pictures = {line["patient"]: [line[key] for key in ("image", "probability") if key in line] for line in lines}
    return {patient: [read_array(folder / name) for name in names] for patient, names in pictures.items()}


def encoded(folder: Path) -> Outcome:
    with np.load(folder / "features.npz") as found:
        return {str(patient): [1000 * row] for patient, row in zip(found["patients"], found["features"], strict=True)}


def listed(folder: str) -> Outcome:
    datalist = find_datalist(Path(folder) / "datalist.json")
    return by_patient([LoadEyed(SIZE)(item) for items in datalist.values() for item in items])


def evaluated(folder: Path, synthetic_dir: str) -> Outcome:
    """The eyes of the set that were compared: those that the report does not tell as left out."""
    about = json.loads((folder / "report.json").read_text(encoding="utf-8"))["compared"]["synthetic"]
    assert (folder / "index.html").is_file()
    items = [item for item in list_synthetic(synthetic_dir, []) if item["name"] not in about["left_out"]]
    assert len(items) == about["eyes"]
    return seen(EyeSet(synthetic_dir, items, SIZE))


def seen(eyes: EyeSet) -> Outcome:
    masks = [[np.rint(mask * 255) for mask in eye.masks.values()] for eye in eyes]
    return {eye.patient: [eye.image, *found] for eye, found in zip(eyes, masks, strict=True)}


def by_patient(eyes: list[dict[Any, Any]]) -> Outcome:
    return {eye["patient"]: [np.asarray(eye[key]) for key in ("image", "vessel", "fov")] for eye in eyes}


@pytest.fixture(scope="module")
def sound(enter: Entry, phantoms: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What the generating entry points make of sound eyes, and the eyes themselves."""
    eyes = Material(tmp_path_factory.mktemp("eyes"), phantoms, trained).eyes().folder
    made = {"eyes": listed(str(eyes)), "evaluate": seen(EyeSet(eyes, list_synthetic(eyes, []), SIZE))}
    for entry in ("inference", "synthesize", "iternet_inference", "encoder_inference", "lama_inference"):
        folder = tmp_path_factory.mktemp(entry)
        made[entry] = enter(entry, {"data": Material(folder, phantoms, trained).eyes().folder}, folder)
    return made


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Another process writes to the folder: it holds the lock."""
    folder.mkdir()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


ROWS = [
    pytest.param(case, entry, id=f"{case.name}-{entry}") for case in CASES for entry in (*case.refused, *case.accepted)
]


@pytest.mark.parametrize(("case", "entry"), ROWS)
def test_what_each_entry_point_says_or_makes_of_it(
    case: Case, entry: str, enter: Entry, sound: Outcome, phantoms: Path, trained: Path, tmp_path: Path
) -> None:
    overrides = case.make(Material(tmp_path, phantoms, trained))
    if entry in case.accepted:
        accept(case, entry, enter, overrides, sound, tmp_path)
    elif case.name == "output_directory_in_use":
        with busy(overrides["output_dir"]):
            refuse(case, entry, enter, overrides, tmp_path)
    else:
        refuse(case, entry, enter, overrides, tmp_path)


def refuse(case: Case, entry: str, enter: Entry, overrides: Overrides, folder: Path) -> None:
    """One sentence, and nothing that was there is another, or is more."""
    before = contents(folder)
    with pytest.raises(Exception) as caught:
        enter(entry, overrides, folder)
    sentence = str(root_error(caught.value))
    assert re.search(case.refused[entry], sentence), sentence
    assert "\n" not in sentence
    assert contents(folder) == before


def accept(case: Case, entry: str, enter: Entry, overrides: Overrides, sound: Outcome, folder: Path) -> None:
    """What comes out is what sound eyes give, and what was there is as it was."""
    before = contents(folder)
    made = enter(entry, overrides, folder)
    after = contents(folder)
    assert {name: after.get(name) for name in before} == before
    expected = sound[entry] if entry in sound else sound["eyes"]
    if "twin" in overrides and entry == "evaluate":
        expected = seen(EyeSet(overrides["twin"], list_synthetic(overrides["twin"], []), SIZE))
    elif "twin" in overrides and entry not in sound:
        expected = listed(str(overrides["twin"]))
    expected = {patient: eye for patient, eye in expected.items() if patient not in case.without}
    if entry in ("training", "evaluation"):
        expected = {patient: eye for patient, eye in expected.items() if patient in made}
        assert made
    assert made.keys() == expected.keys()
    batched = "batch_size" in overrides and entry in sound  # convolutions of a batch add up in another order
    rounding = int(batched or entry == "encoder_inference")  # whose features are no pixels
    for patient, eye in made.items():
        for array, other in zip(eye, expected[patient], strict=True):
            np.testing.assert_allclose(array.astype(int), other, atol=rounding)


COMMANDS = [
    ("three_broken_files", "training"),
    ("malicious_weights", "evaluation"),
    ("broken_file_of_a_name_with_newlines", "prepare"),
    ("synthetic_set_that_is_a_copy_of_the_real_one", "evaluate"),
]
"""As a user types them: these are run as processes of their own."""


@pytest.mark.parametrize(("name", "entry"), [pytest.param(*row, id="-".join(row)) for row in COMMANDS])
def test_a_command_ends_with_one_sentence_and_nothing_else(
    name: str,
    entry: str,
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]],
    run_module: Callable[..., subprocess.CompletedProcess[str]],
    phantoms: Path,
    trained: Path,
    tmp_path: Path,
) -> None:
    (case,) = [case for case in CASES if case.name == name]
    overrides = case.make(Material(tmp_path, phantoms, trained))
    given = settings(entry, overrides, tmp_path, phantoms, trained)
    before = contents(tmp_path)
    if entry in CONFIG_FILES:
        result = monai_bundle(CONFIG_FILES[entry], "run", cwd=tmp_path, **given)
    else:
        result = run_module("retina_monai", *command(entry, given), cwd=tmp_path)
    assert result.returncode == 1, result.stdout
    assert re.match(f"error: .*{case.refused[entry]}", result.stdout.splitlines()[-1]), result.stdout
    assert "Traceback" not in result.stdout
    assert contents(tmp_path) == before

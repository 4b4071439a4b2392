"""``~`` is the home folder in every path that a user gives; no folder of that name is ever made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fire
import pytest
from monai.bundle import ConfigParser, create_workflow

from retina_monai import bundle as bundles
from retina_monai.__main__ import VERBS
from retina_monai.data import find_datalist
from retina_monai.errors import RetinaError, root_error
from retina_monai.evaluation.report.report import evaluate
from retina_monai.settings import expand_home
from retina_monai.synthesis import load, synthesize

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel" / "configs"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder apart from the current one, in which ``~`` must not appear."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert list((tmp_path / "here").iterdir()) == []


def test_paths_lists_and_addresses() -> None:
    home = str(Path.home())
    assert expand_home(["~/a", "b/~", "~"]) == [f"{home}/a", "b/~", home]
    assert expand_home({"lama_fundus": Path("~/a")}) == {"lama_fundus": Path(home) / "a"}
    assert expand_home("sqlite:///~/a.db") == f"sqlite:///{home}/a.db"
    assert [expand_home(value) for value in (None, 3, "average", "http://host/~a", "$'~'")] == [
        None,
        3,
        "average",
        "http://host/~a",
        "$'~'",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("tracking", [None, "mlflow"])
def test_a_training_and_an_inference(
    home: Path, tracking: str | None, small_for: Callable[..., dict[str, Any]], phantoms: Path, trained: Path
) -> None:
    shutil.copytree(phantoms, home / "eyes")
    shutil.copytree(trained, home / "weights")
    train, inference = str(CONFIGS / "train.json"), str(CONFIGS / "inference.json")
    settings = small_for(train) | {
        "dataset_dir": ["~/eyes"],
        "output_dir": "~/run",
        "phantom_dir": "~/phantom",
        "initial_weights": "~/weights/model.pt",
        "train#eyes#cache_dir": "~/train-cache",
        "validate#dataset#cache_dir": "~/cache",
        "mlflow": True,
        "tracking_uri": "sqlite:///~/store/mlruns.db",
        "tracking": tracking,
    }
    workflow = create_workflow(config_file=train, logging_file=False, **settings)
    workflow.run()
    assert {"run", "train-cache", "cache", "store"} <= {path.name for path in home.iterdir()}
    assert json.loads((home / "run" / "config.json").read_text())["output_dir"] == str(home / "run")
    assert (home / "store" / "mlruns.db").is_file()
    arguments = {
        "config_file": inference,
        "input_dir": "~/eyes/vessels",
        "checkpoint": "~/run/model.pt",
        "output_dir": "~/set",
        "appearance": f"~/eyes/images/{next((home / 'eyes' / 'images').iterdir()).name}",
        "size": 64,
        "tracking": tracking,
    }
    (home / "arguments.json").write_text(json.dumps(arguments))
    create_workflow(args_file=str(home / "arguments.json"), logging_file=False).run()
    assert (home / "set" / "datalist.json").is_file()


def test_verbs_and_functions(home: Path) -> None:
    shutil.copytree(CONFIGS.parent / "models", home / "weights")
    shutil.copytree(CONFIGS.parent, home / "bundle", ignore=shutil.ignore_patterns("runs"))
    fire.Fire(VERBS, command="phantom ~/eyes --count 3 --size 64")
    fire.Fire(VERBS, command="prepare ~/eyes --output ~/datalist.json")
    fire.Fire(VERBS, command="prepare ~/eyes --format nnunet --output ~/raw")
    assert len(find_datalist("~/datalist.json")["training"]) == 1
    assert [path.name[:10] for path in (home / "raw").iterdir()] == ["Dataset501"]
    assert load("~/bundle", "~/weights/model.pt", trust=True).name == "bundle"
    given = {"input_dir": "~/eyes/vessels", "output_dir": "~/set", "checkpoint": "~/weights/model.pt", "texture": False}
    assert synthesize("~/bundle", **given, trust=True) == home / "set"
    evaluate("~/set", ["~/eyes"], "~/report", size=64, families="image", tracking_uri="sqlite:///~/store/mlruns.db")
    assert (home / "report" / "index.html").is_file() and (home / "store" / "mlruns.db").is_file()
    with pytest.raises(RetinaError, match=f"{home}/nothing/"):
        bundles.release("~/nothing", "~/bundle", trust=True)


def test_the_sentence_names_the_place_in_full(home: Path) -> None:
    with pytest.raises(Exception) as caught:
        synthesize(input_dir="~/no_such_maps", output_dir="~/set")
    assert str(home / "no_such_maps") in str(root_error(caught.value))


def test_a_parser_without_a_workflow_is_enough(home: Path) -> None:
    parser = ConfigParser()
    parser.read_config(CONFIGS / "train.json")
    parser["output_dir"] = "~/run"
    parser.get_parsed_content("initialize#0")
    assert parser["output_dir"] == str(home / "run")

"""A misspelt override is an error that names the nearest key; overrides as in the model zoo have an effect."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow

from retina_monai.bundle.config_keys import refuse_unused
from retina_monai.errors import root_error

ROOT = Path(__file__).resolve().parents[1]
BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir())
DATA = ("metadata", "appearances")
OVERLAYS = sorted(path for path in ROOT.glob("bundles/*/configs/*.json") if path.stem not in DATA)

Initialize = Callable[..., ConfigWorkflow]


def config(bundle: str, name: str = "train") -> str:
    return str(ROOT / "bundles" / bundle / "configs" / f"{name}.json")


@pytest.fixture
def initialize(small_for: Callable[..., dict[str, Any]], phantoms: Path, tmp_path: Path) -> Initialize:
    """Initialize a workflow as ``monai.bundle run`` does, in this process and without running it."""

    def make(files: str | list[str] | None = None, **overrides: Any) -> ConfigWorkflow:
        settings = small_for(files) if files else {}
        settings |= {"output_dir": str(tmp_path / "run"), "logging_file": False} | overrides
        workflow: ConfigWorkflow = create_workflow(config_file=files, **settings)
        return workflow

    return make


def refusal(initialize: Initialize, *arguments: Any, **overrides: Any) -> str:
    with pytest.raises(Exception) as caught:
        initialize(*arguments, **overrides)
    return str(root_error(caught.value))


def test_the_nearest_key_is_named_and_nothing_is_made(monai_bundle: Callable[..., Any], tmp_path: Path) -> None:
    overrides = {"learning_rat": 99, "train#trainer#max_epoch": 7, "output_dir": tmp_path / "run"}
    result: subprocess.CompletedProcess[str] = monai_bundle(config("pix2pix_vessel"), "training", **overrides)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        "error: the config has no key learning_rat: did you mean learning_rate?; "
        "train#trainer takes no argument max_epoch: did you mean max_epochs?"
    )
    assert "Traceback" not in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "value", "meant"),
    [
        ("max_epoch", 7, "max_epochs"),
        ("lr", 0.1, "optimizer#lr"),
        ("batchsize", 2, "batch_size"),
        ("ouput_dir", "run", "output_dir"),
        ("train#max_epochs", 3, "max_epochs"),
        ("optimizers#lr", 1e-4, "optimizer#lr"),
        ("optimizers#generator#l", 1e-4, "lr"),
        ("train#dataloader#batch_siz", 2, "batch_size"),
        ("resum", True, "resume"),
        ("augment_eye#probability", 0.5, ""),
        ("train#eyes#cache_rate", 1.0, "cache_dir"),
        ("inferer#roi_size", [64, 64], ""),
        ("train#key_metrics", {"mine": 1}, "validate#key_metric"),
        ("validate#key_metrics", {"mine": 1}, "validate#key_metric"),
    ],
)
def test_each_place_of_a_config_is_checked(initialize: Initialize, override: str, value: Any, meant: str) -> None:
    sentence = refusal(initialize, config("pix2pix_vessel"), **{override: value})
    *parents, key = override.split("#")
    name = f"no argument {key}" if f"{'#'.join(parents)} takes" in sentence else f"no key {override}"
    assert f"{name}: " in sentence
    assert f"did you mean {meant}?" in sentence if meant else "did you mean" not in sentence


@pytest.mark.parametrize("bundle", BUNDLES)
def test_inference_evaluation_and_files_of_arguments_are_checked(
    initialize: Initialize, bundle: str, tmp_path: Path
) -> None:
    assert "did you mean checkpoint?" in refusal(initialize, config(bundle, "inference"), chekpoint="model.pt")
    evaluation = [config(bundle), config(bundle, "evaluate")]
    assert "did you mean checkpoint?" in refusal(initialize, evaluation, chekpoint="model.pt")
    (tmp_path / "arguments.json").write_text(json.dumps({"config_file": evaluation, "skip_unreadabel": True}))
    assert "did you mean skip_unreadable?" in refusal(initialize, args_file=str(tmp_path / "arguments.json"))
    (tmp_path / "mine.json").write_text(json.dumps({"learning_rat": 0.1}))
    assert "did you mean learning_rate?" in refusal(initialize, [config(bundle), str(tmp_path / "mine.json")])


def test_an_overlay_may_bring_keys_that_something_refers_to(initialize: Initialize, tmp_path: Path) -> None:
    metric = {"_target_": "retina_monai.metrics.ImageQuality", "metric": "ssim", "target_key": "@goal"}
    mine = {
        "goal": "photograph",
        "my_rate": 0.001,
        "learning_rate": "%my_rate",
        "half": "$@my_rate / 2",
        "discriminator_learning_rate": "@half",
        "mine": metric,
        "+validate#additional_metrics": {"mine": "@mine", "copied": "%mine"},
        "settings": {"decay": 0.9},
        "ema_decay": "@settings#decay",
        "save_execute_config": False,
        "count": ["$print(len(@datalist['training']))"],
    }
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    workflow = initialize([config("pix2pix_vessel"), str(tmp_path / "mine.json")], run_id="count", init_id="initialize")
    rates = {name: optimizer.defaults["lr"] for name, optimizer in workflow.parser.optimizers._raw.items()}
    assert rates == {"segmenter": 0.001, "generator": 0.001, "discriminator": 0.0005}


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_shipped_configs_use_all_of_their_keys(path: Path) -> None:
    base = config(path.parents[1].name)
    parser = ConfigParser()
    parser.read_config([str(path)] if path.stem in ("train", "inference") else [base, str(path)])
    shipped = ConfigParser.load_config_file(path if path.stem in ("train", "inference") else base)
    parser.parse(True)
    refuse_unused(parser, shipped)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_overrides_of_the_model_zoo_have_an_effect(initialize: Initialize, bundle: str) -> None:
    train = ConfigParser.load_config_file(config(bundle))
    player = next(iter(train["optimizers"]))
    overrides = {
        "optimizer#lr": 0.125,
        f"optimizers#{player}#weight_decay": 0.25,
        "train#dataloader#batch_size": 2,
        "validate#dataloader#batch_size": 3,
        "validate#dataloader#num_workers": 1,
        "train#trainer#max_epochs": 3,
    }
    workflow = initialize(config(bundle), **overrides)
    content = workflow.parser.get_parsed_content
    assert content(f"optimizers#{player}").defaults["weight_decay"] == 0.25
    rates = [optimizer.defaults["lr"] for name, optimizer in content("optimizers").items() if name != "discriminator"]
    assert 0.125 in rates
    loaders = content("train#dataloader"), content("validate#dataloader")
    assert [loader.batch_size for loader in loaders] == [2, 3]
    assert loaders[1].num_workers == 1
    assert content("train#trainer").state.max_epochs == 3
    logged = {key: workflow.parser[key] for key in ("learning_rate", "batch_size", "max_epochs")}
    assert logged == {"learning_rate": 0.125, "batch_size": 2, "max_epochs": 3}, "MLflow names what is in use"


@pytest.mark.parametrize(
    ("bundle", "override", "value", "sentence"),
    [
        ("pix2pix_vessel", "train#dataloader#batch_size", 0, "train#dataloader#batch_size must be an integer"),
        ("retina_encoder", "validate#dataloader#num_workers", -1, "must be an integer >= 0, got -1"),
        ("lama_fundus", "train#trainer#max_epochs", 1.5, "train#trainer#max_epochs must be an integer >= 1"),
        ("iternet_vessel", "optimizer#lr", -1, "optimizer#lr must be a number >= 0, got -1"),
        ("ddpm_vessel", "train#trainer#amp", True, "train#trainer#amp has no effect: give --precision"),
        ("pix2pix_vessel", "rotation", 10, "in [0, 3.141592654] radians, got 10: 10 degrees are 0.17"),
        ("retina_encoder", "train#preprocessing#transforms#1#rotation", 17, "17 degrees are 0.3"),
    ],
)
def test_nested_overrides_keep_the_rules_of_the_settings_that_they_replace(
    initialize: Initialize, bundle: str, override: str, value: Any, sentence: str
) -> None:
    assert sentence in refusal(initialize, config(bundle), **{override: value})


def test_an_argument_of_another_class_that_is_a_setting_is_named(initialize: Initialize) -> None:
    sentence = refusal(initialize, config("ddpm_vessel"), **{"network_def#features": 32})
    assert sentence == "network_def takes no argument features: did you mean features?"


def test_a_batch_given_in_the_zoos_way_has_to_be_filled(initialize: Initialize) -> None:
    sentence = refusal(initialize, config("pix2pix_vessel"), **{"train#dataloader#batch_size": 1000})
    assert "batch_size 1000 is too large" in sentence

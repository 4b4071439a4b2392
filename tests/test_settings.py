"""Settings of the wrong kind or range are refused by their key; what the configs bring along is none of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from retina_monai.bundle.config_keys import config_rules
from retina_monai.errors import RetinaError
from retina_monai.networks import lama_generator
from retina_monai.settings import RULES, Number, Rule, Words, check_path, check_settings

CONFIGS = sorted(Path(__file__).resolve().parents[1].glob("bundles/*/configs/*.json"))
COMPOUND = {"appearance_mean", "appearance_std", "betas"}


@pytest.mark.parametrize(
    ("number", "fitting", "others"),
    [
        (Number(1, whole=True), [1, 10**9], [0, -1, 1.0, True, "1", None, [1], math.nan]),
        (Number(0), [0, 0.0, 1e30, 3], [-1e-9, math.inf, math.nan, "0", None, False]),
        (Number(0, 1, open="high"), [0, 0.999], [1, 1.0, -0.1]),
        (Number(0, open="low", optional=True), [None, 0.1], [0, "none"]),
        (Number(-1, 1, count=3), [[0, -1, 1], (0.5, 0.5, 0.5)], [[0, 0], [0, 0, 2], 0, "012", None, [0, 0, None]]),
    ],
)
def test_numbers_fit_by_kind_and_range(number: Number, fitting: list[Any], others: list[Any]) -> None:
    assert [value for value in fitting if not number.fits(value)] == []
    assert [value for value in others if number.fits(value)] == []


def test_rules_are_written_as_ranges() -> None:
    assert str(Number(1, whole=True)) == "an integer >= 1"
    assert str(Number(0, 1, open="high")) == "in [0, 1)"
    assert str(Number(0, open="low", optional=True)) == "a number > 0 or None"
    assert str(Number(0, open="low", count=3)) == "3 numbers > 0"


def test_all_faults_are_in_one_error() -> None:
    with pytest.raises(RetinaError) as caught:
        check_settings({"batch_size": 0, "size": 64, "betas": [0.5], "anything": "else"})
    assert str(caught.value) == (
        "batch_size must be an integer >= 1, got 0; betas must be 2 numbers in [0, 1), got [0.5]"
    )


@pytest.fixture(scope="module")
def rules() -> dict[str, Rule]:
    """Of the settings of all bundles."""
    found: dict[str, Rule] = {}
    for path in (path for path in CONFIGS if path.stem in ("train", "inference")):
        parser = ConfigParser()
        parser.read_config(path)
        found |= config_rules(parser)
    return found


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("size", -1, "an integer >= 16"),
        ("size", 12, "an integer >= 16"),
        ("patch", 4, "an integer >= 16"),
        ("window", 0, "an integer >= 16"),
        ("levels", 1, "an integer >= 2"),
        ("features", "wide", "an integer >= 1"),
        ("batch_size", 0, "an integer >= 1"),
        ("max_epochs", 0, "an integer >= 1"),
        ("blocks", -1, "an integer >= 0"),
        ("iterations", -1, "an integer >= 0"),
        ("num_workers", -1, "an integer >= 0"),
        ("blend", 0.5, "an integer >= 0"),
        ("seed", "text", "an integer in [0, 4294967295]"),
        ("steps", 0, "an integer in [1, 1000] or None"),
        ("multipliers", [], "a list of integers >= 1"),
        ("learning_rate", -0.1, "a number >= 0"),
        ("edge", -1, "a number >= 0"),
        ("guidance", -1, "a number >= 0 or None"),
        ("dropout", 1.5, "in [0, 1)"),
        ("global_share", 1, "in [0, 1)"),
        ("turned", 2, "in [0, 1]"),
        ("generated_share", 2, "in [0, 1]"),
        ("condition_dropout", 2, "in [0, 1]"),
        ("betas", [0.5], "2 numbers in [0, 1)"),
        ("masks", "circles", "one of vessels, strokes"),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_the_range(
    key: str, value: Any, rule: str, rules: dict[str, Rule]
) -> None:
    with pytest.raises(RetinaError) as caught:
        check_settings({key: value}, rules=rules)
    assert str(caught.value) == f"{key} must be {rule}, got {value!r}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "output_dir must be a path, got '': give one such as ./name"),
        (2024, "output_dir must be a path, got 2024: give one such as ./2024"),
        (["runs", ""], "output_dir must be a path, got '': give one such as ./name"),
        ("eyes ::1", "output_dir eyes ::1 contains # or ::, which MONAI interprets itself: rename the folder or file"),
    ],
)
def test_what_cannot_be_the_path_that_was_meant_is_refused(value: Any, message: str) -> None:
    for path in (None, "runs", Path("runs"), ["a", "b"]):
        check_path("output_dir", path)
    with pytest.raises(RetinaError) as caught:
        check_path("output_dir", value)
    assert str(caught.value) == message


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parents[1].name}-{path.name}")
def test_every_number_of_a_config_has_a_rule_that_it_keeps(path: Path) -> None:
    if path.stem in ("metadata", "appearances"):
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    parser = ConfigParser()
    parser.read_config(str(path) if "imports" in config else [str(path.with_name("train.json")), str(path)])
    rules = config_rules(parser)
    check_settings({key: value for key, value in config.items() if not str(value).startswith("@")}, rules=rules)
    plain = {key for key, value in config.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    assert (plain | COMPOUND & config.keys()) - rules.keys() == set()


def test_rules_are_those_of_the_components_of_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of two families has the rule of the one that is in use."""
    lama, iternet = (
        {"network_def": {"_target_": f"retina_monai.networks.{name}"}} for name in ("LamaGenerator", "IterNet")
    )
    assert config_rules(ConfigParser(lama)).items() >= {"blend": Number(0, whole=True), "seed": RULES["seed"]}.items()
    assert "blend" not in config_rules(ConfigParser(iternet))
    monkeypatch.setitem(lama_generator.SETTINGS, "levels", Words(("few", "many")))
    assert str(config_rules(ConfigParser(lama))["levels"]) == "one of few, many"
    assert str(config_rules(ConfigParser(iternet))["levels"]) == "an integer >= 2"


def test_a_word_is_one_of_those_that_mean_something() -> None:
    rules = {"masks": Words(("vessels", "strokes")), "blocks": Number(0, whole=True)}
    check_settings({"masks": "strokes"}, rules=rules)
    with pytest.raises(
        RetinaError, match=r"^masks must be one of vessels, strokes, got 7; blocks must be .*, got 0.5$"
    ):
        check_settings({"masks": 7, "blocks": 0.5}, rules=rules)

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
from retina_monai.settings import RULES, Number, Words, check_settings

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

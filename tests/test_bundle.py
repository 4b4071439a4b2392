"""What is asked of a data set before anything is made."""

from __future__ import annotations

import pytest
from monai.bundle import ConfigParser
from torch import distributed

from retina_monai.bundle import check_eyes, check_size, config_in_use
from retina_monai.errors import RetinaError
from retina_monai.networks import LamaGenerator, Pix2PixUNet

EYES = {"training": [{}] * 5, "validation": [], "test": [{}]}


def test_a_batch_of_all_processes_has_to_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    check_eyes(EYES, "training", 5)
    with pytest.raises(RetinaError, match=r"^batch_size 6 is too large for 5 eyes for training: give a smaller"):
        check_eyes(EYES, "training", 6)
    check_eyes(EYES, "training", 6, repeats=2)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    check_eyes(EYES, "training", 2)
    with pytest.raises(RetinaError, match=r"batch_size 3 on each of 2 processes is too large for 5 eyes for training"):
        check_eyes(EYES, "training", 3)


def test_a_size_has_to_leave_two_pixels_a_side() -> None:
    check_size(LamaGenerator(features=2, blocks=1), 16)
    with pytest.raises(RetinaError, match=r"size must be at least 16 for a network that downsamples by 8, got 15"):
        check_size(LamaGenerator(features=2, blocks=1), 15)


@pytest.mark.parametrize(("levels", "size"), [(4, 100), (4, 72), (2, 18), (2, 0), (2, 4.0)])
def test_a_size_has_to_go_through_the_network(levels: int, size: int) -> None:
    network = Pix2PixUNet(levels=levels, features=2)
    check_size(network, 2 ** (levels + 2))
    with pytest.raises(
        RetinaError, match=rf"^size must be a multiple of {2**levels} .*, got {size}: change --size, or"
    ):
        check_size(network, size)


def test_a_split_that_is_needed_is_named() -> None:
    check_eyes(EYES, "test")
    with pytest.raises(RetinaError, match=r"the data set has no validation eyes: give one whose datalist\.json"):
        check_eyes(EYES, "validation")


def test_settings_that_are_expressions_are_recorded_with_their_values() -> None:
    parser = ConfigParser(
        {
            "imports": ["$import retina_monai"],
            "size": 64,
            "batch_size": "@size",
            "learning_rate": "$2 * @size",
            "network": "$1 / 0",
            "in_use": "$retina_monai.bundle.config_in_use()",
            "config": "$@in_use.settings()",
        }
    )
    found = parser.get_parsed_content("config")
    assert (found["size"], found["batch_size"], found["learning_rate"]) == (64, 64, 128)
    assert found["network"] == "$1 / 0"


def test_the_parser_of_a_config_is_found_while_it_is_evaluated() -> None:
    parser = ConfigParser({"imports": ["$import retina_monai"], "in_use": "$retina_monai.bundle.config_in_use()"})
    assert parser.get_parsed_content("in_use").parser is parser
    with pytest.raises(RuntimeError, match="no config is being evaluated"):
        config_in_use()

"""The compared methods and their trainings. Add an entry to METHODS to compare another method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

DATASETS = ("CHASE_DB1", "HRF", "FIVES")
EYES, PHANTOMS = "training eyes", "phantoms"


class Training(NamedTuple):
    """One training of a method.

    Attributes:
        bundle: bundle whose ``train.json`` is run.
        data: ``EYES`` or ``PHANTOMS``.
        epochs: number of epochs. By default it is validated after the last epoch only, whose weights are used.
        weights: setting of the bundle -> earlier training of the method whose weights it gets.
        options: overrides of the bundle's settings.
    """

    bundle: str
    data: str
    epochs: int
    weights: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}


class Method(NamedTuple):
    """A method to generate a photograph from a vessel map.

    Attributes:
        title: title in tables.
        generator: name of the bundle or chain for ``synthesize``.
        trainings: trainings by name, in order; if empty, the generator uses its released weights.
        released: bundle of the generator -> training whose weights it gets.
        about: description on the page.
        size: side length in pixels; methods of the same size are compared.
    """

    title: str
    generator: str
    trainings: Mapping[str, Training]
    released: Mapping[str, str]
    about: str
    size: int = 256


METHODS = {
    "two_stage": Method(
        title="two-stage",
        generator="two_stage",
        trainings={
            "color": Training("pix2pix_color_vessel", EYES, 40, options={"val_interval": 5}),
            "lama_phantoms": Training(
                "lama_fundus", PHANTOMS, 2, options={"generated_share": 0, "linear_decay": False}
            ),
            "lama": Training(
                "lama_fundus",
                EYES,
                85,
                weights={"color_vessel_weights": "color", "initial_weights": "lama_phantoms"},
                options={"val_interval": 17},
            ),
        },
        released={"pix2pix_color_vessel": "color", "lama_fundus": "lama"},
        about="`pix2pix_color_vessel` gives the vessels of the map their colours, then `lama_fundus` paints everything "
        "around them and leaves them as they are.",
    ),
    "direct": Method(
        title="direct pix2pix",
        generator="pix2pix_vessel",
        trainings={},
        released={},
        about="`pix2pix_vessel` paints the photograph from the map in one go.",
    ),
}

"""The methods that are compared, and how each is trained. Another one is another entry of METHODS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

DATASETS = ("CHASE_DB1", "HRF", "FIVES")
EYES, PHANTOMS = "training eyes", "phantoms"


class Training(NamedTuple):
    """One training of a method.

    Attributes:
        bundle: whose ``train.json`` runs.
        data: ``EYES`` or ``PHANTOMS``.
        epochs: after the last of which it is validated, once, and those weights are taken, unless ``options`` say else.
        weights: setting of the bundle -> an earlier training of the method, whose weights it is given.
        options: other settings than the bundle's own.
    """

    bundle: str
    data: str
    epochs: int
    weights: Mapping[str, str] = {}
    options: Mapping[str, Any] = {}


class Method(NamedTuple):
    """A way from vessel map to photograph.

    Attributes:
        title: in tables.
        generator: what ``synthesize`` is asked for: the name of a bundle, or of a chain.
        trainings: by name, in their order; none: the generator has its released weights.
        released: bundle of the generator -> the training whose weights it gets.
        about: a sentence on the page.
        size: pixels a side; methods of one size are compared with each other.
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

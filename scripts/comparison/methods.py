"""The methods that are compared, and how each is trained. Another one is another entry of METHODS.

Epochs are such that the methods of one size take about equal minutes in sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

DATASETS = ("CHASE_DB1", "HRF", "FIVES")
EYES, PHANTOMS = "training eyes", "phantoms"

VALIDATIONS = 5  # of each training that ends in photographs of eyes


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
        trainings: by name, in their order.
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


def two_stage(epochs: tuple[int, int, int], size: int) -> Method:
    """Colours, and painting around them; epochs of the first stage, and of the second on phantoms and on eyes."""
    color, phantoms, eyes = epochs
    return Method(
        title="two-stage",
        generator="two_stage",
        trainings={
            "color": Training("pix2pix_color_vessel", EYES, color, options={"val_interval": 5}),
            "lama_phantoms": Training(
                "lama_fundus", PHANTOMS, phantoms, options={"generated_share": 0, "linear_decay": False}
            ),
            "lama": Training(
                "lama_fundus",
                EYES,
                eyes,
                weights={"color_vessel_weights": "color", "initial_weights": "lama_phantoms"},
                options={"val_interval": eyes // VALIDATIONS},
            ),
        },
        released={"pix2pix_color_vessel": "color", "lama_fundus": "lama"},
        about="`pix2pix_color_vessel` gives the vessels of the map their colours, then `lama_fundus` paints everything "
        "around them and leaves them as they are.",
        size=size,
    )


def direct(epochs: tuple[int, int], size: int) -> Method:
    """The photograph in one go; epochs on phantoms and on eyes."""
    phantoms, eyes = epochs
    return Method(
        title="direct pix2pix",
        generator="pix2pix_vessel",
        trainings={
            "direct_phantoms": Training("pix2pix_vessel", PHANTOMS, phantoms, options={"faithfulness_weight": 20}),
            "direct": Training(
                "pix2pix_vessel",
                EYES,
                eyes,
                weights={"initial_weights": "direct_phantoms"},
                options={"val_interval": eyes // VALIDATIONS},
            ),
        },
        released={"pix2pix_vessel": "direct"},
        about="`pix2pix_vessel` paints the photograph from the map in one go.",
        size=size,
    )


def diffusion(epochs: tuple[int, int], size: int) -> Method:
    """From noise, told of the map; epochs on phantoms and on eyes."""
    phantoms, eyes = epochs
    return Method(
        title="diffusion",
        generator="ddpm_vessel",
        trainings={
            "diffusion_phantoms": Training("ddpm_vessel", PHANTOMS, phantoms, options={"linear_decay": False}),
            "diffusion": Training(
                "ddpm_vessel",
                EYES,
                eyes,
                weights={"initial_weights": "diffusion_phantoms"},
                options={"val_interval": eyes // VALIDATIONS},
            ),
        },
        released={"ddpm_vessel": "diffusion"},
        about="`ddpm_vessel` draws the photograph from noise in few steps, each of which is told of the map.",
        size=size,
    )


METHODS = {
    "two_stage": two_stage((40, 2, 85), 256),
    "direct": direct((8, 150), 256),
    "two_stage_128": two_stage((40, 2, 85), 128),
    "direct_128": direct((6, 185), 128),
    "diffusion_128": diffusion((1, 12), 128),
}

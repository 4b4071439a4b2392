"""The compared methods. Add an entry to METHODS to compare another method."""

from __future__ import annotations

from typing import NamedTuple

DATASETS = ("CHASE_DB1", "HRF", "FIVES")
KINDS = ("test", "warped")


class Method(NamedTuple):
    """A method to generate a photograph from a vessel map.

    Attributes:
        title: title in tables.
        generator: name of the bundle or chain for ``synthesize``.
        card: bundle with the reports of the released weights, in ``docs/reports``.
        about: description on the page.
    """

    title: str
    generator: str
    card: str
    about: str


METHODS = {
    "two_stage": Method(
        title="two-stage",
        generator="two_stage",
        card="lama_fundus",
        about="`pix2pix_color_vessel` gives the vessels of the map their colours, then `lama_fundus` paints everything "
        "around them and leaves them as they are.",
    ),
    "direct": Method(
        title="direct pix2pix",
        generator="pix2pix_vessel",
        card="pix2pix_vessel",
        about="`pix2pix_vessel` paints the photograph from the map in one go.",
    ),
}

"""Write the appearances of the training eyes next to the weights."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events

from retina_monai.data.listing.pseudonyms import pseudonymised
from retina_monai.data.sets.appearances import Appearances
from retina_monai.data.sets.dataset import CachedEyes

__all__ = ["AppearanceTable"]


class AppearanceTable:
    """Write ``appearances.json`` when training starts.

    Unpublished eyes get pseudonyms, because the table is released with the weights.

    Args:
        eyes: the training eyes.
        output_dir: output folder.
        size: side length in pixels at which textures are measured; ``None`` measures no textures.
        enabled: whether this process writes (rank 0).
    """

    def __init__(self, eyes: CachedEyes, output_dir: str | Path, size: int | None = None, enabled: bool = True) -> None:
        self.eyes = eyes
        self.size = size
        self.path = Path(output_dir) / "appearances.json"
        self.enabled = enabled

    def attach(self, engine: Engine) -> None:
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self.write)

    def write(self) -> None:
        table = Appearances.measure(self.eyes, self.size)
        named = zip(table.eyes, pseudonymised(self.eyes.data), strict=True)
        Appearances([eye | {"name": item["name"]} for eye, item in named]).save(self.path)

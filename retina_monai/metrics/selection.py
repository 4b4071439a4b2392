"""One number to choose a generator's checkpoint by: how faithful its photographs are, less how far from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced

from retina_monai.group import gather
from retina_monai.metrics.distribution import KernelDistance

__all__ = ["Selection"]

FEWEST = 4  # images of which there is a KID with subsets


class Selection(Metric):
    """``faithfulness - kid_weight * KID``, over the images of a run; the higher, the better.

    Either alone chooses badly: vessels that are drawn as black lines are the most faithful ones, and a generator that
    paints one and the same good photograph is near to the real set. KID needs at least four images. With fewer, or at
    ``kid_weight`` 0, the value is the faithfulness alone, and ``formula`` says so.

    Args:
        faithfulness: a metric in [0, 1], such as the clDice of a judge on the generated photographs.
        kid: of the generated photographs to the real ones.
        kid_weight: faithfulness that one unit of KID costs.
        output_transform: from ``state.output`` to the list of dictionaries.

    Attributes:
        formula: what the last value consists of. Attached to an engine under a name, it is in
            ``state.formulas[name]`` as well.

    Raises:
        ValueError: a negative weight; on update and compute, as the two metrics.
        NotComputableError: on compute, no image was seen.
    """

    def __init__(
        self,
        faithfulness: Metric,
        kid: KernelDistance,
        kid_weight: float = 1.0,
        output_transform: Any = lambda output: output,
    ) -> None:
        if kid_weight < 0:
            raise ValueError(f"kid_weight must be at least 0, not {kid_weight}")
        self.faithfulness, self.kid, self.kid_weight = faithfulness, kid, kid_weight
        self.formula = ""
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        self._count = 0
        self.faithfulness.reset()
        self.kid.reset()

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take one dictionary per image."""
        self._count += len(output)
        self.faithfulness.update(output)
        if self.kid_weight:
            self.kid.update(output)

    def compute(self) -> float:
        """The number, over the images of all processes."""
        faithfulness, count = float(self.faithfulness.compute()), sum(gather(self._count))
        if not self.kid_weight:
            self.formula = "faithfulness without KID, whose weight is 0"
        elif count < FEWEST:
            self.formula = f"faithfulness without KID, which needs {FEWEST} eyes and has {count}"
        else:
            self.formula = f"faithfulness - {self.kid_weight:g} KID by {self.kid.extractor_name}"
            return faithfulness - self.kid_weight * float(self.kid.compute())
        return faithfulness

    def completed(self, engine: Engine, name: str) -> None:
        """As any metric; the formula goes into the engine's state beside the value."""
        super().completed(engine, name)
        state: Any = engine.state
        state.formulas = {**getattr(state, "formulas", {}), name: self.formula}

"""The metric that selects a generator's checkpoint: faithfulness of its photographs minus distance to real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced

from retina_monai.group import gather
from retina_monai.metrics.distribution import KernelDistance

__all__ = ["Selection"]

FEWEST = 4  # smallest number of images for KID with subsets


class Selection(Metric):
    """``faithfulness - kid_weight * KID`` over the images of a run; higher is better.

    Neither term suffices. Faithfulness is highest for vessels drawn as black lines, and KID favours a generator that
    repeats one good photograph. KID needs at least four images. With fewer, or with ``kid_weight`` 0, the value is the
    faithfulness alone, as recorded in ``formula``.

    Args:
        faithfulness: a metric in [0, 1], such as the clDice of a judge on the generated photographs.
        kid: KID between generated and real photographs.
        kid_weight: weight of KID.
        output_transform: function from ``state.output`` to the list of dictionaries.

    Attributes:
        formula: formula of the last value. If the metric is attached to an engine under a name, it is also in
            ``state.formulas[name]``.

    Raises:
        ValueError: the weight is negative; on update and compute, as the two metrics.
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
            raise ValueError(f"kid_weight must be at least 0, got {kid_weight}")
        self.faithfulness, self.kid, self.kid_weight = faithfulness, kid, kid_weight
        self.formula = ""
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Discard all images."""
        self._count = 0
        self.faithfulness.reset()
        self.kid.reset()

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add one dictionary per image."""
        self._count += len(output)
        self.faithfulness.update(output)
        if self.kid_weight:
            self.kid.update(output)

    def compute(self) -> float:
        """The value over the images of all processes."""
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
        """Store the value in the engine's state like any metric, and the formula beside it."""
        super().completed(engine, name)
        state: Any = engine.state
        state.formulas = {**getattr(state, "formulas", {}), name: self.formula}

"""One number to choose a generator's checkpoint by: how faithful its photographs are, less how far from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced

from retina_monai.metrics.distribution import KernelDistance

__all__ = ["Selection"]

FEWEST = 4  # images of which there is a KID with subsets


class Selection(Metric):
    """``faithfulness - kid_weight * KID``, over the images of a run; the higher, the better.

    Either alone chooses badly: vessels that are drawn as black lines are the most faithful ones, and a generator that
    paints one and the same good photograph is near to the real set. Of fewer than four images there is no KID to
    speak of, and faithfulness alone counts.

    Args:
        faithfulness: a metric in [0, 1], such as the clDice of a judge on the generated photographs.
        kid: of the generated photographs to the real ones.
        kid_weight: faithfulness that one unit of KID costs.
        output_transform: from ``state.output`` to the list of dictionaries.

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
        self.kid.update(output)

    def compute(self) -> float:
        """The number, over the images of all processes."""
        faithfulness = float(self.faithfulness.compute())
        return faithfulness if self._count < FEWEST else faithfulness - self.kid_weight * float(self.kid.compute())

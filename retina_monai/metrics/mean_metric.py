"""Base class of metrics that average a measure of two images or masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

from retina_monai.errors import parse_switch
from retina_monai.metrics.engine_output import read_tensor

__all__ = ["MeanMetric"]


class MeanMetric(Metric):
    """Mean over images of a measure, for any Ignite or MONAI engine.

    The input is the list of dictionaries that MONAI's engines leave in ``state.output`` after decollation. Images are
    averaged one by one, independent of the batch size and the number of processes.

    Images for which the measure is NaN, such as the sensitivity without vessels, are counted but left out of the mean.
    An infinite value, such as the PSNR of identical images, makes the mean infinite.

    Args:
        measure: function of ``(pred, target, fov=None)``, each ``(1, C, H, W)``, that returns ``(1,)``.
        inside_fov: whether to measure only inside the field of view.
        pred_key: key of the generated image or predicted mask, ``(C, H, W)``.
        target_key: key of the real one.
        fov_key: key of the field of view ``(1, H, W)`` in {0, 1}; needed only with ``inside_fov``.
        output_transform: function from ``state.output`` to the list of dictionaries.
        device: device of the sum.

    Attributes:
        undefined: number of images of this process that were left out.

    Raises:
        KeyError: on update, a dictionary lacks one of the keys.
        NotComputableError: on compute, no image with a defined value was seen.

    Example:
        >>> metric = MeanMetric(lambda pred, target, fov=None: (pred / target).mean((1, 2, 3)), target_key="real")
        >>> zero, one = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
        >>> metric.update([{"pred": one, "real": one}, {"pred": zero, "real": zero}])
        >>> metric.compute(), metric.undefined
        (1.0, 1)
    """

    _state_dict_all_req_keys = ("_sum", "_count", "undefined")

    def __init__(
        self,
        measure: Callable[..., Tensor],
        inside_fov: bool = False,
        pred_key: str = "pred",
        target_key: str = "image",
        fov_key: str = "fov",
        output_transform: Callable[[Any], Any] = lambda output: output,
        device: str | torch.device = "cpu",
    ) -> None:
        self.measure = measure
        self.inside_fov = parse_switch(inside_fov, "inside_fov")
        self.pred_key, self.target_key, self.fov_key = pred_key, target_key, fov_key
        super().__init__(output_transform, device, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Discard all images."""
        self._sum = torch.zeros((), dtype=self._double_dtype, device=self._device)
        self._count = 0
        self.undefined = 0

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Add one dictionary per image."""
        for item in output:
            fov = self._one(item, self.fov_key) if self.inside_fov else None
            value = self.measure(self._one(item, self.pred_key), self._one(item, self.target_key), fov=fov).detach()
            defined = value[~value.isnan()]
            self._sum += defined.sum().to(self._sum)
            self._count += len(defined)
            self.undefined += len(value) - len(defined)

    @sync_all_reduce("_sum", "_count")
    def compute(self) -> float:
        """The mean over the images of all processes."""
        if self._count == 0:
            raise NotComputableError(f"{type(self).__name__} has seen no image with a defined value")
        return float(self._sum) / self._count

    def _one(self, item: Mapping[str, Any], key: str) -> Tensor:
        return read_tensor(self, item, key)[None]

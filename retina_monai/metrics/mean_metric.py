"""The mean over images of any measure of two images: what the metrics of images and of masks have in common."""

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

    It reads the list of dictionaries that MONAI's engines leave in ``state.output`` after decollation, and averages
    image by image, whatever the batch size and the number of processes.

    What is undefined for an image (NaN: the sensitivity to vessels where there are none) does not enter the mean, and
    is counted. An infinite value (the PSNR of identical images) is a value, and makes the mean infinite.

    Args:
        measure: from ``(pred, target, fov=None)``, each ``(1, C, H, W)``, to ``(1,)``.
        inside_fov: measure inside the field of view only.
        pred_key: key of the generated image, or of the predicted mask, ``(C, H, W)``.
        target_key: key of the real one.
        fov_key: key of the field of view ``(1, H, W)`` of {0, 1}; needed only with ``inside_fov``.
        output_transform: from ``state.output`` to the list of dictionaries.
        device: where the sum is kept.

    Attributes:
        undefined: how many images of this process were left out.

    Raises:
        KeyError: on update, a dictionary without one of the keys.
        NotComputableError: on compute, no image was seen for which the measure is defined.

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
        """Forget all images."""
        self._sum = torch.zeros((), dtype=self._double_dtype, device=self._device)
        self._count = 0
        self.undefined = 0

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Take one dictionary per image."""
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
            raise NotComputableError(f"{type(self).__name__} has seen no image for which its metric is defined")
        return float(self._sum) / self._count

    def _one(self, item: Mapping[str, Any], key: str) -> Tensor:
        return read_tensor(self, item, key)[None]

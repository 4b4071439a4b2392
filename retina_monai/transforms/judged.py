"""Add the vessels that a judge segments in a photograph to a sample."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.transforms import AsDiscreted, CopyItemsd, Transform
from monai.utils import convert_to_tensor
from torch import Tensor

from retina_monai.transforms.appearance import LikeAppearanced

__all__ = ["Judged", "judge_photographs"]


class Judged(Transform):
    """Add the vessels that a judge segments in a photograph.

    Args:
        judge: function from photographs ``(B, 3, H, W)`` in [-1, 1] and fields of view ``(B, 1, H, W)`` in {0, 1} to
            vessel probabilities ``(B, 1, H, W)``.
        image_key: key of the photograph ``(3, H, W)``, which is clipped to [-1, 1].
        fov_key: key of the field of view ``(1, H, W)``.
        judged_key: key of the output ``(1, H, W)`` in [0, 1].
    """

    def __init__(
        self,
        judge: Callable[[Tensor, Tensor], Tensor],
        image_key: str = "pred",
        fov_key: str = "fov",
        judged_key: str = "judged",
    ) -> None:
        self.judge = judge
        self.image_key, self.fov_key, self.judged_key = image_key, fov_key, judged_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, fov = (convert_to_tensor(data[key], track_meta=False)[None] for key in (self.image_key, self.fov_key))
        with torch.no_grad():
            judged = self.judge(image.float().clamp(-1, 1), fov.float())
        return {**data, self.judged_key: judged[0]}


def judge_photographs(judge: Callable[[Tensor, Tensor], Tensor]) -> list[Any]:
    """Postprocessing of generated photographs before their metrics are computed in validation.

    Args:
        judge: see :class:`Judged`.

    Returns:
        List of transforms, which copy ``pred`` to ``generated``, convert ``pred`` to the appearance of ``photograph``,
        and add ``judged`` and ``vessel_map``, the vessel map in {0, 1}.
    """
    return [
        CopyItemsd("pred", names="generated"),
        LikeAppearanced("pred", reference_key="photograph"),
        Judged(judge),
        CopyItemsd("vessel", names="vessel_map"),
        AsDiscreted("vessel_map", threshold=0.0),
    ]

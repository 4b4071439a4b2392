"""What a judge sees, beside what it saw."""

from __future__ import annotations

import torch
from torch import Tensor

from retina_monai.transforms import Judged


def green_inside(image: Tensor, fov: Tensor) -> Tensor:
    return (image[:, 1:2] + 1) / 2 * fov


def test_a_judge_gets_one_clipped_photograph_with_its_field_of_view() -> None:
    image = torch.tensor([[[0.0, 0.0]], [[0.5, 3.0]], [[0.0, 0.0]]])
    fov = torch.tensor([[[1, 0]]])
    item = {"pred": image, "fov": fov, "name": "eye"}
    judged = Judged(green_inside)(item)
    assert torch.equal(judged["judged"], torch.tensor([[[0.75, 0.0]]]))
    assert judged["pred"] is image and judged["name"] == "eye" and "judged" not in item
    brighter = Judged(green_inside)({"pred": image, "fov": torch.ones(1, 1, 2)})
    assert torch.equal(brighter["judged"], torch.tensor([[[0.75, 1.0]]]))

"""MONAI's ``SupervisedTrainer`` with the interface that this library's handlers expect."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import SupervisedTrainer as MonaiSupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from retina_monai.engines.adversarial import PRECISIONS
from retina_monai.group import average_buffers, average_gradients, spread_first

__all__ = ["Autocast", "SupervisedTrainer"]


class SupervisedTrainer(MonaiSupervisedTrainer):
    """MONAI's ``SupervisedTrainer`` with named losses and the contents of a checkpoint.

    ``state.output`` is a list with one dictionary (``image``, ``label``, ``pred``, ``loss``), as for
    :class:`retina_monai.engines.AdversarialTrainer`.

    In a process group parameters, gradients and buffers are synchronised as in
    :class:`retina_monai.engines.AdversarialTrainer`. ``n`` processes at batch size ``b`` take the steps of one process
    at ``n * b`` if the loss is a mean over pictures, as :class:`retina_monai.objectives.WeightedError` is. A
    ``network`` wrapped in ``DistributedDataParallel`` gives the same result.

    Args:
        saved: network to save in checkpoints; ``network`` is this network or a part of it.
        max_gradient_norm: norm to which gradients are clipped; ``None`` disables clipping.
        trainer_kwargs: arguments of ``monai.engines.SupervisedTrainer``, including ``network`` and ``optimizer``.

    Attributes:
        loss_meanings: ``meanings`` of the loss function, if it has any.
    """

    def __init__(self, saved: nn.Module, max_gradient_norm: float | None = None, **trainer_kwargs: Any) -> None:
        super().__init__(decollate=False, optim_set_to_none=True, **trainer_kwargs)
        self.saved = saved
        self.loss_meanings = dict(getattr(self.loss_function, "meanings", {}))
        spread_first(saved)
        self.add_event_handler(IterationEvents.BACKWARD_COMPLETED, lambda: average_gradients(self.network.parameters()))
        if max_gradient_norm is not None:
            self.add_event_handler(
                IterationEvents.BACKWARD_COMPLETED,
                lambda: clip_grad_norm_(self.network.parameters(), max_gradient_norm),
            )

    def parts(self) -> dict[str, Any]:
        """Contents of a checkpoint, by name."""
        return {"networks.generator": self.saved, "optimizers.generator": self.optimizer}

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        output: Any = super()._iteration(engine, batchdata)
        average_buffers(self.saved)
        detached = {name: value.detach() for name, value in output.items()}
        self.state.losses = {"loss": detached["loss"]}
        return [detached]


class Autocast(Inferer):
    """Run another inferer in mixed precision on any device; MONAI's engines support it on CUDA only.

    Args:
        inferer: inferer to run.
        precision: ``fp32`` or ``bf16``; fp16 needs gradient scaling, which an inferer cannot do.
        device: device of the inferer.

    Raises:
        ValueError: the precision is not supported.
    """

    def __init__(self, inferer: Inferer, precision: str, device: torch.device) -> None:
        super().__init__()
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision must be fp32 or bf16 for this training, got {precision!r}")
        self.inferer = inferer
        self.device, self.dtype, self.enabled = torch.device(device), PRECISIONS[precision], precision != "fp32"

    def __call__(self, *arguments: Any, **keywords: Any) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.enabled):
            predicted: Tensor = self.inferer(*arguments, **keywords)
        return predicted

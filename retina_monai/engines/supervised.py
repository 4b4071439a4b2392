"""MONAI's ``SupervisedTrainer``, as the handlers of this library know an engine."""

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
    """MONAI's, with its losses by name and the parts that a checkpoint holds.

    ``state.output`` is a list with one dictionary (``image``, ``label``, ``pred``, ``loss``), as for
    :class:`retina_monai.engines.AdversarialTrainer`.

    In a process group parameters, gradients and buffers are kept equal as by
    :class:`retina_monai.engines.AdversarialTrainer`, so that ``n`` processes at batch ``b`` take the steps of one at
    ``n * b`` if the loss is a mean over pictures, as :class:`retina_monai.objectives.WeightedError` is. A ``network``
    wrapped in ``DistributedDataParallel`` trains alike.

    Args:
        saved: the network that checkpoints hold; ``network`` is it, or a part of it.
        max_gradient_norm: gradients are scaled down to this norm; ``None`` leaves them.
        trainer_kwargs: for ``monai.engines.SupervisedTrainer``, ``network`` and ``optimizer`` among them.

    Attributes:
        loss_meanings: what the loss means, if its ``meanings`` say so.
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
        """What a checkpoint holds, by name."""
        return {"networks.generator": self.saved, "optimizers.generator": self.optimizer}

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        output: Any = super()._iteration(engine, batchdata)
        average_buffers(self.saved)
        detached = {name: value.detach() for name, value in output.items()}
        self.state.losses = {"loss": detached["loss"]}
        return [detached]


class Autocast(Inferer):
    """Run another inferer in mixed precision: MONAI's engines know that of CUDA alone.

    Args:
        inferer: what is run.
        precision: ``fp32`` or ``bf16``.
        device: what it runs on.

    Raises:
        ValueError: another precision; fp16 needs its gradients scaled, which an inferer cannot do.
    """

    def __init__(self, inferer: Inferer, precision: str, device: torch.device) -> None:
        super().__init__()
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision {precision!r} is not for this training: choose fp32 or bf16")
        self.inferer = inferer
        self.device, self.dtype, self.enabled = torch.device(device), PRECISIONS[precision], precision != "fp32"

    def __call__(self, *arguments: Any, **keywords: Any) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.enabled):
            predicted: Tensor = self.inferer(*arguments, **keywords)
        return predicted

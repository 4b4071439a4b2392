"""One loop that trains every adversarial objective of this library.

MONAI's own ``AdversarialTrainer`` is for autoencoders (its discriminator never sees a condition) and ``GanTrainer``
knows one latent and no mixed precision; neither fires ``MODEL_COMPLETED`` nor sets ``loss``, on which MONAI's
handlers and tracking rely.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from retina_monai.group import average_buffers, average_gradients, group_size, spread_first
from retina_monai.objectives import Batch, Losses, Objective, Step

__all__ = ["AdversarialTrainer"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class AdversarialTrainer(Trainer):
    """Take the objective's steps in turn, each with its own optimizer.

    ``state.output`` is a list with one dictionary, as MONAI's handlers expect: the batch, what ``forward`` gave, every
    named loss and their sum ``loss``, all still on the device; a handler that logs them decides when to synchronise.

    In a process group the networks start equal (rank 0's), gradients are averaged before each update
    (:func:`retina_monai.group.average_gradients`) and buffers after each iteration
    (:func:`retina_monai.group.average_buffers`), so that all ranks have the same network at any time: they validate,
    average and save one. Gradients are reduced here rather than by ``DistributedDataParallel``, which does not take a
    network that is called twice before its backward, or called while its parameters are frozen, as every discriminator
    is.

    ``n`` processes at batch ``b`` see the batches of one process at ``n * b``
    (:class:`retina_monai.data.SeededSampler`) and take the same steps, to rounding, with two exceptions. Batch norm
    normalises each process's batch by its own mean and variance, and what training draws from torch's generators
    (dropout, whether a lazy penalty is due) differs from rank to rank.

    Args:
        objective: networks, steps and the generating pass; the networks are moved to ``device``.
        optimizers: one per step, by the step's name.
        precision: ``fp32``, ``bf16`` (CPU and GPU) or ``fp16`` (GPU, with loss scaling).
        max_gradient_norm: each step's gradients are scaled down to this norm; ``None`` leaves them.
        trainer_kwargs: for ``monai.engines.Trainer``: ``device``, ``max_epochs``, ``train_data_loader`` as
            ``data_loader``, ``handlers``, metrics.

    Attributes:
        loss_meanings: what each loss means, by its name.

    Raises:
        ValueError: a step without optimizer, an unknown precision, or fp16 on a device without it.
    """

    def __init__(
        self,
        objective: Objective,
        optimizers: Mapping[str, Optimizer],
        precision: str = "fp32",
        max_gradient_norm: float | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        self.objective = objective
        self.loss_meanings = {**getattr(objective, "meanings", {}), "loss": "sum of all other losses"}
        self.optimizers = optimizers
        self.max_gradient_norm = max_gradient_norm
        device = torch.device(trainer_kwargs["device"]).type
        if missing := {step.name for step in objective.steps} - set(optimizers):
            raise ValueError(f"no optimizer for step(s) {', '.join(sorted(missing))}")
        if precision not in PRECISIONS or (precision == "fp16" and device != "cuda"):
            raise ValueError(f"precision {precision!r} is not available on {device}: choose fp32, bf16 or (GPU) fp16")
        self.precision = precision
        self.loss_scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
        super().__init__(decollate=False, **trainer_kwargs)
        self.add_event_handler(Events.STARTED, lambda: objective.networks.train())
        objective.networks.to(self.state.device)
        spread_first(objective.networks)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds, by name."""
        networks = {f"networks.{name}": network for name, network in self.objective.networks.items()}
        optimizers = {f"optimizers.{name}": optimizer for name, optimizer in self.optimizers.items()}
        return {**networks, **optimizers, "loss_scaler": self.loss_scaler}

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        batch = {key: self._to_device(value) for key, value in batchdata.items()}
        with self._autocast():
            outputs = self.objective.forward(batch)
        losses: Losses = {}
        for step in self.objective.steps:
            losses |= self._take(step, batch, outputs)
        self.loss_scaler.update()
        average_buffers(self.objective.networks)
        losses = {name: term.detach() for name, term in losses.items()}
        total = torch.stack([term.float() for term in losses.values()]).sum()
        pred = {name: tensor.detach() for name, tensor in outputs.items()}
        engine.state.output = [{**batch, **pred, **losses, "loss": total}]
        engine.state.losses = {**losses, "loss": total}
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _take(self, step: Step, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        optimizer = self.optimizers[step.name]
        with _only(self.objective.networks, step.updates):
            with self._autocast():
                losses = step.losses(batch, outputs)
            optimizer.zero_grad(set_to_none=True)
            total = torch.stack([term.float() for term in losses.values()]).sum()
            if total.requires_grad or group_size() == 1:  # only some of a group may have nothing to learn from
                self.loss_scaler.scale(total).backward()
        parameters = [p for name in step.updates for p in self.objective.networks[name].parameters()]
        average_gradients(parameters)
        if self.max_gradient_norm is not None:
            self.loss_scaler.unscale_(optimizer)
            clip_grad_norm_(parameters, self.max_gradient_norm)
        self.loss_scaler.step(optimizer)
        return losses

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, PRECISIONS[self.precision], enabled=self.precision != "fp32")

    def _to_device(self, value: Any) -> Any:
        return value.to(self.state.device, non_blocking=self.non_blocking) if isinstance(value, Tensor) else value


@contextmanager
def _only(networks: nn.ModuleDict, names: tuple[str, ...]) -> Iterator[None]:
    """Let gradients reach the parameters of the named networks only; whoever was frozen before stays frozen."""
    others = [p for name, net in networks.items() if name not in names for p in net.parameters() if p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)

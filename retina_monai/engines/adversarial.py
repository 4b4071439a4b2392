"""Trainer for all adversarial objectives of this library.

MONAI's own trainers do not fit. Its ``AdversarialTrainer`` is for autoencoders: the discriminator never sees a
condition. Its ``GanTrainer`` supports a single latent and no mixed precision. Neither fires ``MODEL_COMPLETED`` or sets
``loss``, on which MONAI's handlers and tracking rely.
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
    """Run the steps of an objective in turn, each with its own optimizer.

    ``state.output`` is a list with one dictionary, as MONAI's handlers expect: the batch, the outputs of ``forward``,
    all named losses and their sum ``loss``. All tensors stay on the device, so that handlers decide when to
    synchronise.

    In a process group all ranks start with the networks of rank 0. Gradients are averaged before each update
    (:func:`retina_monai.group.average_gradients`) and buffers after each iteration
    (:func:`retina_monai.group.average_buffers`). All ranks therefore validate, average and save the same network.
    ``DistributedDataParallel`` is not used: it does not support networks that are called twice before the backward
    pass or called while their parameters are frozen, as every discriminator is.

    ``n`` processes at batch size ``b`` see the batches of one process at ``n * b``
    (:class:`retina_monai.data.SeededSampler`) and take the same steps up to rounding, with two exceptions. Batch norm
    uses the mean and variance of each process's own batch. Random numbers from torch's generators (dropout, lazy
    penalties) differ between ranks.

    Args:
        objective: networks, steps and forward pass; the networks are moved to ``device``.
        optimizers: one optimizer per step, by the step's name.
        precision: ``fp32``, ``bf16`` (CPU and GPU) or ``fp16`` (GPU, with loss scaling).
        max_gradient_norm: norm to which each step's gradients are clipped; ``None`` disables clipping.
        trainer_kwargs: arguments of ``monai.engines.Trainer``: ``device``, ``max_epochs``, ``data_loader``, handlers,
            metrics.

    Attributes:
        loss_meanings: description of each loss by name.

    Raises:
        ValueError: a step has no optimizer, or the precision is unknown or not available on the device.
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
        """Contents of a checkpoint, by name."""
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
            if total.requires_grad or group_size() == 1:  # some ranks of a group may have no loss that requires grad
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
    """Freeze all but the named networks; parameters that were frozen before stay frozen."""
    others = [p for name, net in networks.items() if name not in names for p in net.parameters() if p.requires_grad]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)

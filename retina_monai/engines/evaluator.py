"""Validation of generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from retina_monai.group import from_first, gather

__all__ = ["GenerationEvaluator"]


class GenerationEvaluator(Evaluator):
    """Generate from each batch's condition; ``state.output`` is a list of dictionaries, one per eye.

    Unlike MONAI's ``SupervisedEvaluator``, the output keeps all entries of the batch (photograph, field of view, name)
    for postprocessing, metrics and pictures.

    In a process group each rank generates its share of the eyes (:class:`retina_monai.data.SeededSampler`). The metrics
    of this library cover the eyes of all ranks, and ranks without eyes take part in them. All ranks use the metrics of
    rank 0, which thus selects the best epoch.

    Args:
        network: the generator; it is moved to ``device``.
        inferer: runs the generator.
        condition_key: key of the condition in the batch; the generated picture is stored as ``pred``.
        condition: batch -> condition, instead of ``condition_key``.
        noise: batch -> initial noise, passed to the generator as ``noise``; ``None`` passes no noise.
        evaluator_kwargs: arguments of ``monai.engines.Evaluator``.
    """

    def __init__(
        self,
        network: nn.Module,
        inferer: Inferer | None = None,
        condition_key: str = "vessel",
        condition: Callable[[Mapping[str, Any]], torch.Tensor] | None = None,
        noise: Callable[[Mapping[str, Any]], torch.Tensor] | None = None,
        **evaluator_kwargs: Any,
    ) -> None:
        handlers = evaluator_kwargs.pop("val_handlers", None)
        super().__init__(**evaluator_kwargs)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._agree)  # after the metrics, before handlers that read them
        if handlers is not None:
            self._register_handlers(handlers)
        self.network = network.to(self.state.device)
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.condition = itemgetter(condition_key) if condition is None else condition
        self.noise = noise

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI, unlike Ignite
        """Evaluate. A rank without eyes takes part if another rank has some; MONAI would skip the run."""
        lengths = gather(self.state.epoch_length)
        if self.state.epoch_length != 0 or not any(lengths):
            return super().run(global_epoch)
        self.state.epoch = self.state.max_epochs = max(global_epoch, 1)
        self.state.batch, self.state.output = [], []
        for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
            self.fire_event(event)

    def _agree(self) -> None:
        state: Any = self.state
        agreed = from_first((state.metrics, state.best_metric, state.best_metric_epoch))
        state.metrics, state.best_metric, state.best_metric_epoch = agreed

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        batch = {k: v.to(self.state.device) if isinstance(v, torch.Tensor) else v for k, v in batchdata.items()}
        with self.mode(self.network):
            drawn = {} if self.noise is None else {"noise": self.noise(batch)}
            pred = self.inferer(inputs=self.condition(batch), network=self.network, **drawn)
        engine.state.output = {**batch, "pred": pred}
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

"""Validation of a generator: whatever the batch holds, and what the generator makes of its condition."""

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

    Unlike in MONAI's ``SupervisedEvaluator`` the output keeps all entries of the batch (photograph, field of view,
    name, ...), so that postprocessing, metrics and pictures find what they compare with.

    In a process group each rank generates its own share of the eyes (:class:`retina_monai.data.SeededSampler`), the
    metrics of this library are over the eyes of all, and a rank without an eye takes part in them. Rank 0 decides which
    epoch is best: its metrics are everyone's.

    Args:
        network: the generator, moved to ``device``.
        inferer: runs it.
        condition_key: entry of the batch to generate from; the picture is ``pred``.
        condition: ``(batch)`` -> what to generate from, instead of an entry.
        noise: ``(batch)`` -> what the generator starts from, which it is given as ``noise``; ``None``: nothing.
        evaluator_kwargs: for ``monai.engines.Evaluator``.
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
        self.add_event_handler(Events.EPOCH_COMPLETED, self._agree)  # behind the metrics, before who reads them
        if handlers is not None:
            self._register_handlers(handlers)
        self.network = network.to(self.state.device)
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.condition = itemgetter(condition_key) if condition is None else condition
        self.noise = noise

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Evaluate; in a group also where this rank has no eye, while another has some: MONAI skips such a run."""
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

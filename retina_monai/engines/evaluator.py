"""Validation of a generator: whatever the batch holds, and what the generator makes of its condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import torch
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from torch import nn

__all__ = ["GenerationEvaluator"]


class GenerationEvaluator(Evaluator):
    """Generate from each batch's condition; ``state.output`` is a list of dictionaries, one per eye.

    Unlike in MONAI's ``SupervisedEvaluator`` the output keeps all entries of the batch (photograph, field of view,
    name, ...), so that postprocessing, metrics and pictures find what they compare with.

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
        super().__init__(**evaluator_kwargs)
        self.network = network.to(self.state.device)
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.condition = itemgetter(condition_key) if condition is None else condition
        self.noise = noise

    def _iteration(self, engine: Any, batchdata: Any) -> Any:
        batch = {k: v.to(self.state.device) if isinstance(v, torch.Tensor) else v for k, v in batchdata.items()}
        with self.mode(self.network):
            drawn = {} if self.noise is None else {"noise": self.noise(batch)}
            pred = self.inferer(inputs=self.condition(batch), network=self.network, **drawn)
        engine.state.output = {**batch, "pred": pred}
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

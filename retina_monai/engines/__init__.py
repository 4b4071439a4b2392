"""The trainer of the adversarial objectives and what a training process needs around it."""

from retina_monai.engines.adversarial import AdversarialTrainer
from retina_monai.engines.averaging import Averaged
from retina_monai.engines.evaluator import GenerationEvaluator
from retina_monai.engines.process import (
    choose_device,
    choose_precision,
    is_first_rank,
    join_process_group,
    keep_big_blocks,
    leave_process_group,
    prepare,
)

__all__ = [
    "AdversarialTrainer",
    "Averaged",
    "GenerationEvaluator",
    "choose_device",
    "choose_precision",
    "is_first_rank",
    "join_process_group",
    "keep_big_blocks",
    "leave_process_group",
    "prepare",
]

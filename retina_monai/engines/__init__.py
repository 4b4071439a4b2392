"""Trainers for adversarial objectives and diffusion, evaluation, weight averaging and process setup."""

from retina_monai.engines.adversarial import AdversarialTrainer
from retina_monai.engines.averaging import Averaged
from retina_monai.engines.diffusion_training import DiffusionBatch, SampleNoise, time_weights
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
from retina_monai.engines.supervised import Autocast, SupervisedTrainer

__all__ = [
    "AdversarialTrainer",
    "Autocast",
    "Averaged",
    "DiffusionBatch",
    "GenerationEvaluator",
    "SampleNoise",
    "SupervisedTrainer",
    "choose_device",
    "choose_precision",
    "is_first_rank",
    "join_process_group",
    "keep_big_blocks",
    "leave_process_group",
    "prepare",
    "time_weights",
]

"""Setup of a training process: seeds, memory, device, precision and process group."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

import torch
from monai.utils import set_determinism
from torch import distributed

from retina_monai.errors import RetinaError
from retina_monai.group import group_rank

__all__ = [
    "choose_device",
    "choose_precision",
    "is_first_rank",
    "join_process_group",
    "keep_big_blocks",
    "leave_process_group",
    "prepare",
]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
NEVER, AS_LATE_AS_POSSIBLE = -1, 2**31 - 1


def prepare(seed: int) -> None:
    """Seed Python, NumPy and torch, and configure the allocator; part of ``initialize`` of every training config."""
    set_determinism(seed=seed)
    keep_big_blocks()


def keep_big_blocks() -> bool:
    """Stop glibc from returning large blocks to the system between iterations.

    Otherwise a training step on the CPU spends a sixth of its time in page faults. Has no effect without glibc.

    Returns:
        Whether the C library accepted both settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    if not hasattr(libc, "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, AS_LATE_AS_POSSIBLE), (M_TRIM_THRESHOLD, NEVER))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def choose_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK`` under torchrun) if available, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def choose_precision(precision: str, device: torch.device, half: bool = True) -> str:
    """Resolve ``auto`` to bf16 if the processor or GPU supports it natively, else to fp32.

    Args:
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; all but ``auto`` are returned unchanged.
        device: device of the training.
        half: whether the trainer supports loss scaling, which fp16 needs.

    Raises:
        RetinaError: the precision is unknown, or is fp16 without a GPU or without ``half``.
    """
    if precision not in PRECISIONS or (precision == "fp16" and not (half and device.type == "cuda")):
        others = "bf16 or (GPU) fp16" if half else "bf16"
        raise RetinaError(f"precision {precision} is not available on {device.type}: give auto, fp32, {others}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def join_process_group() -> None:
    """Join the process group of torchrun, with nccl on GPUs and gloo on CPUs. Does nothing without torchrun.

    Part of ``initialize`` of multi_gpu_train.json and evaluate.json.
    """
    if "WORLD_SIZE" not in os.environ:
        return
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(choose_device())


def leave_process_group() -> None:
    """Leave the process group; part of ``finalize`` of multi_gpu_train.json and evaluate.json."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def is_first_rank() -> bool:
    """Whether this process writes files and logs: it is rank 0 or the only process."""
    return group_rank() == 0

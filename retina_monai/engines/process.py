"""What a training process sets once, before anything is built."""

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
    """Seed Python, NumPy and torch, and let the allocator keep big blocks. ``initialize`` of every train config."""
    set_determinism(seed=seed)
    keep_big_blocks()


def keep_big_blocks() -> bool:
    """Tell glibc not to give big blocks back to the system between iterations.

    A training step on the CPU otherwise spends a sixth of its time in page faults. Returns whether the C library
    took both settings; elsewhere than on glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    if not hasattr(libc, "mallopt"):
        return False
    settings = ((M_MMAP_THRESHOLD, AS_LATE_AS_POSSIBLE), (M_TRIM_THRESHOLD, NEVER))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def choose_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK`` under torchrun) where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def choose_precision(precision: str, device: torch.device, half: bool = True) -> str:
    """``auto`` -> bf16 where the processor or GPU computes in it natively, else fp32; anything else stays.

    Args:
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: what trains.
        half: whether what trains can scale its loss, as fp16 needs it.

    Raises:
        RetinaError: any other word, fp16 without a GPU, or without ``half``.
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
    """Join the processes that torchrun started: nccl on GPUs, gloo on CPUs; a process started otherwise stays alone.

    In ``initialize`` of multi_gpu_train.json and evaluate.json.
    """
    if "WORLD_SIZE" not in os.environ:
        return
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(choose_device())


def leave_process_group() -> None:
    """In ``finalize`` of multi_gpu_train.json and evaluate.json."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def is_first_rank() -> bool:
    """Whether this process writes files and logs: rank 0, or the only one."""
    return group_rank() == 0

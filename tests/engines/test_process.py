"""What a process sets once: seeds, the allocator, device, precision, process group."""

from __future__ import annotations

import ctypes
import platform
import random
import resource
import socket
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import distributed

from retina_monai.engines import (
    choose_device,
    choose_precision,
    is_first_rank,
    join_process_group,
    keep_big_blocks,
    leave_process_group,
    prepare,
)
from retina_monai.errors import RetinaError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def deterministic_settings() -> Iterator[None]:
    """MONAI's determinism is the whole process's; other tests go on as they were."""
    before = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    yield
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@pytest.mark.usefixtures("deterministic_settings")
def test_one_seed_for_python_numpy_and_torch() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        prepare(seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = draw(3)
    assert draw(3) == first
    assert all(ours != theirs for ours, theirs in zip(draw(4), first, strict=True))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_big_blocks_are_kept() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library")
    assert keep_big_blocks() is True
    libc, size = ctypes.CDLL(None), 48 * 2**20
    libc.malloc.restype = ctypes.c_void_p

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
        ctypes.memset(block, 1, size)
        libc.free(block)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()  # the first block comes from the system
    assert max(faults() for _ in range(3)) < 10


def test_elsewhere_than_on_linux_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_big_blocks() is False


def test_device_is_the_gpu_of_this_process_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert choose_device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device() == torch.device("cuda", 3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_stays(precision: str) -> None:
    assert choose_precision(precision, CPU) == precision


@pytest.mark.parametrize("precision", ["fp16", "nonsense"])
def test_a_precision_that_is_not_to_be_had_is_refused(precision: str) -> None:
    with pytest.raises(RetinaError, match=f"precision {precision} is not available on cpu: give auto, fp32"):
        choose_precision(precision, CPU)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_fp16_is_refused_where_no_loss_is_scaled(device: torch.device) -> None:
    with pytest.raises(RetinaError, match=r"precision fp16 is not available on \w+: give auto, fp32, bf16$"):
        choose_precision("fp16", device, half=False)


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16"), (True, True, "bf16")],
)
def test_auto_is_bf16_where_the_processor_has_it(
    avx512: bool, amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_gpu_has_it_natively(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert choose_precision("auto", GPU) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="joins with nccl")
def test_a_group_is_joined_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": 0, "WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    assert is_first_rank()
    monkeypatch.delenv("WORLD_SIZE")
    join_process_group()  # torchrun did not start this process
    assert not distributed.is_initialized()
    monkeypatch.setenv("WORLD_SIZE", "1")
    join_process_group()
    try:
        assert distributed.is_initialized() and distributed.get_backend() == "gloo" and is_first_rank()
        join_process_group()
    finally:
        leave_process_group()
    assert not distributed.is_initialized()
    leave_process_group()


def test_only_rank_0_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    assert not is_first_rank()

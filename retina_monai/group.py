"""Communication within a process group. A process outside any group acts as a group of one.

``torchrun`` starts the processes, and :func:`retina_monai.engines.join_process_group` joins them. All processes must
call the communicating functions of this module in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

__all__ = [
    "average_buffers",
    "average_gradients",
    "from_first",
    "gather",
    "gather_items",
    "gather_lists",
    "group_rank",
    "group_size",
    "own_share",
    "spread_first",
    "whole_batch",
    "whole_sum",
]

Value = TypeVar("Value")


def group_size() -> int:
    """The number of processes in the group."""
    return distributed.get_world_size() if _joined() else 1


def group_rank() -> int:
    """The rank of this process, from 0."""
    return distributed.get_rank() if _joined() else 0


def own_share(count: int) -> range:
    """This process's share of ``count`` items, which is a range of consecutive items.

    Shares differ by at most one item, and the first ranks have the larger ones. Concatenated in the order of ranks, the
    shares are the items in their order. If there are fewer items than processes, the last ranks have none.

    Example:
        >>> own_share(3)
        range(0, 3)
    """
    size, larger = divmod(count, group_size())
    start = group_rank() * size + min(group_rank(), larger)
    return range(start, start + size + (group_rank() < larger))


def gather(value: Value) -> list[Value]:
    """The values of all processes in the order of ranks. Values must be picklable."""
    if group_size() == 1:
        return [value]
    values: list[Any] = [None] * group_size()
    distributed.all_gather_object(values, value)
    return values


def gather_items(items: Sequence[Value]) -> list[Value]:
    """The items of all processes. Items distributed by :func:`own_share` are returned in their original order."""
    return [item for part in gather(list(items)) for item in part]


def gather_lists(lists: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    """Apply :func:`gather_items` to each name. A name that a process lacks counts as an empty list."""
    parts = gather(dict(lists))
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [item for part in parts for item in part.get(name, ())] for name in names}


def from_first(value: Value) -> Value:
    """The value of the first process."""
    if group_size() == 1:
        return value
    values: list[Any] = [value]
    distributed.broadcast_object_list(values)
    first: Value = values[0]
    return first


def whole_sum(own: Tensor) -> Tensor:
    """Sum a tensor over all processes, with a gradient for this process's part.

    This serves losses that are not a mean over images, such as a ratio of sums. All processes then have the same loss,
    and the average of their gradients (:func:`average_gradients`) equals the gradient of one process with the whole
    batch. It is not needed for losses that are a mean over the images of equal batches.

    Args:
        own: sum over this process's batch, of the same shape in all processes.

    Example:
        >>> whole_sum(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if group_size() == 1:
        return own
    total = own.detach().clone()
    distributed.all_reduce(total)
    return total + group_size() * (own - own.detach())


def whole_batch(own: Tensor) -> Tensor:
    """Concatenate the batches of all processes in the order of one process, without gradient.

    Args:
        own: batch ``(B, ...)`` of this process, of the same shape in all processes.
    """
    if group_size() == 1:
        return own
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(group_size())]
    distributed.all_gather(parts, own.detach().contiguous())
    return torch.cat(parts)


def spread_first(module: nn.Module) -> None:
    """Broadcast parameters and buffers of the first process to all others."""
    if group_size() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, src=0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over the processes in one message. A gradient that is missing in some processes counts as 0.

    A gradient that is missing in all processes stays ``None``, as in one process. An optimizer with momentum would move
    a parameter with gradient 0, but skips one without a gradient.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if group_size() == 1 or not trained:
        return
    missing = torch.tensor([float(parameter.grad is None) for parameter in trained], device=trained[0].device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    flat = torch.cat([missing, *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(flat)
    counts, *parts = flat.split([len(trained), *(parameter.numel() for parameter in trained)])
    for place, (parameter, gradient, part) in enumerate(zip(trained, gradients, parts, strict=True)):
        if parameter.grad is not None or counts[place] < group_size():
            parameter.grad = gradient.copy_((part / group_size()).view_as(gradient))


def average_buffers(module: nn.Module) -> None:
    """Average floating-point buffers over the processes, such as running means and variances of batch norm.

    Double precision is used, so that buffers that are equal in all processes do not change.
    """
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if group_size() == 1 or not buffers:
        return
    flat = torch.cat([buffer.double().flatten() for buffer in buffers])
    distributed.all_reduce(flat)
    for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_((part / group_size()).view_as(buffer))


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()

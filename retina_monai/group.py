"""What the processes of a group know together; a process that joined no group is a group of one.

``torchrun`` starts the processes and :func:`retina_monai.engines.join_process_group` joins them. Every function here
that exchanges something is to be called by all processes, in the same order.
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
    """How many processes there are."""
    return distributed.get_world_size() if _joined() else 1


def group_rank() -> int:
    """Which one this is, from 0."""
    return distributed.get_rank() if _joined() else 0


def own_share(count: int) -> range:
    """The consecutive items that are this process's, of ``count`` that all share out.

    Shares differ by one item at most, the first ranks have the larger ones, and the shares in the order of the ranks
    are the items in their order. Of fewer items than processes the last ranks have none.

    Example:
        >>> own_share(3)
        range(0, 3)
    """
    size, larger = divmod(count, group_size())
    start = group_rank() * size + min(group_rank(), larger)
    return range(start, start + size + (group_rank() < larger))


def gather(value: Value) -> list[Value]:
    """The value of each process, in the order of their ranks; anything that can be pickled."""
    if group_size() == 1:
        return [value]
    values: list[Any] = [None] * group_size()
    distributed.all_gather_object(values, value)
    return values


def gather_items(items: Sequence[Value]) -> list[Value]:
    """The items of all processes: those of :func:`own_share` come out in the order that one process has them in."""
    return [item for part in gather(list(items)) for item in part]


def gather_lists(lists: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
    """:func:`gather_items` of each name; a name that a process lacks is a list without items there."""
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
    """Sum over the batch of all processes, of which each gives the sum over its own.

    For losses that are no mean over pictures, such as a ratio of sums: all processes then have one and the same loss,
    and the average of their gradients (:func:`average_gradients`) is the gradient of that of one process with the whole
    batch. A loss that is a mean over the pictures of equal batches needs none of it.

    Args:
        own: of one shape everywhere.

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
    """The batches of all processes in one, in the order that one process would have them in; without gradient.

    Args:
        own: ``(B, ...)``, of one shape everywhere.
    """
    if group_size() == 1:
        return own
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(group_size())]
    distributed.all_gather(parts, own.detach().contiguous())
    return torch.cat(parts)


def spread_first(module: nn.Module) -> None:
    """Give all processes the parameters and buffers of the first."""
    if group_size() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, src=0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average over the processes, in one message; what some of them have no gradient of counts as 0 there.

    What no process has a gradient of keeps ``None``: an optimizer with momentum moves a parameter whose gradient is 0,
    and leaves one alone that has none, here as in one process.
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
    """Average what is no parameter and no whole number: running means and variances of batch norm, for instance.

    In double precision, so that what is equal everywhere stays as it is.
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

"""Operations of a network on the meta device, counted once for each kind and shape (``cost``).

On the meta device torch works out the shape of each result in Python: a network of a thousand layers takes seconds,
though nearly all of its layers repeat another. What torch found for an operation is kept for every later one of the
same kind on inputs of the same shapes.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

_FOUND: dict[Any, tuple[Any, int]] = {}
"""Results and operations by kind and shapes: the same for every network of a process."""


class CountedOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of torch
    """Within, operations are counted as torch counts them (``FlopCounterMode``); gradients are not looked at.

    Attributes:
        flops: 2 x multiply-accumulates of all matrix products and convolutions so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        effect = _effect(func)
        if effect == "view":
            return func(*args, **kwargs)
        key = (func, _shapes(args), _shapes(tuple(kwargs.items())))
        found = _FOUND.get(key)
        if found is None:
            found = _counted(func, args, kwargs)
            if effect == "write" or not _without_values((args, kwargs, found[0])):
                self.flops += found[1]
                return found[0]
            _FOUND[key] = found
        self.flops += found[1]
        return tree_map_only(Tensor, _like, found[0])


@cache
def _effect(func: Any) -> Literal["view", "write", "new"]:
    """Whether an operation gives another view of its input, writes into it, or makes tensors of its own."""
    aliases = [part.alias_info for part in (*func._schema.arguments, *func._schema.returns) if part.alias_info]
    if not aliases:
        return "new"
    return "write" if any(alias.is_write for alias in aliases) else "view"


def _counted(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int]:
    with FlopCounterMode(display=False) as counter:
        result = func(*args, **kwargs)
    return result, int(counter.get_total_flops())


def _without_values(values: Any) -> bool:
    """Whether all tensors are on the meta device, and at least one is: then shapes decide, and nothing else can."""
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
    return bool(tensors) and all(tensor.is_meta for tensor in tensors)


def _shapes(value: Any) -> Any:
    """Arguments as the key of a dictionary, with what decides the shape of a result in the place of each tensor."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype, value.device
    if isinstance(value, tuple | list):
        return tuple(map(_shapes, value))
    return type(value), value


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)

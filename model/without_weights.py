"""Networks without weights: their modules and shapes alone, to count parameters and operations in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

_FILLING: frozenset[object] = frozenset(
    [getattr(Tensor, name) for name in ("normal_", "uniform_", "fill_", "zero_", "mul_", "add_", "erfinv_", "clamp_")]
    + [getattr(init, name) for name in ("normal_", "uniform_", "constant_", "kaiming_uniform_", "kaiming_normal_")]
)
"""What writes values into a tensor and does nothing else."""


class _LeftEmpty(TorchFunctionMode):
    """Leaves out what writes values: on the meta device there are none, and torch takes seconds to write none."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING:
            tensor = kwargs["tensor"] if "tensor" in kwargs else args[0]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Within, networks are made on the meta device, and nothing is initialised."""
    with torch.device("meta"), _LeftEmpty():
        yield

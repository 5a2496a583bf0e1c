"""What a network costs: parameters and operations, by the paper's rule and in truth.

The paper's Table II was counted by ``thop`` at 512 px: 2 x its multiply-accumulates, which leave out whatever is not a
module of a known type - attention products, softmax, GELU, interpolation - and the parameters of such modules too.
``count`` applies the same rules by forward hooks, on the meta device: no memory, no arithmetic. Source of the rules:
thop 0.1.1 (MIT), compared with it in ``tests/model/test_cost.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import kept_costs
from .operations import CountedOperations
from .registry import MODELS, build, configure, spec
from .without_weights import without_weights


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass of one image.

    Attributes:
        params: all parameters.
        params_rule: those in modules that the paper's rule knows and that ran.
        gmacs_rule: multiply-accumulates by the paper's rule, in the plain form that Table II was counted on, with the
            auxiliary head where there is one.
        gflops_rule: 2 x that, but for rows of the paper that mean 1 x (``ModelSpec.flops_per_mac``).
        gflops: 2 x multiply-accumulates of all matrix products and convolutions, those of attention included, in that
            same form; elementwise work is not counted.
        gflops_run: the same in the form that really runs: decoders folded, no auxiliary head.
    """

    params: int
    params_rule: int
    gmacs_rule: float
    gflops_rule: float
    gflops: float
    gflops_run: float


def count(model: nn.Module, primary: int, auxiliary: int, size: int = 512, *, flops_per_mac: int = 2) -> Cost:
    """Cost of a network for one image.

    Args:
        model: any network of the registry; left as it is.
        primary, auxiliary: bands of its inputs.
        size: height and width in pixels; the paper's figures are for 512.
        flops_per_mac: how many operations a multiply-accumulate is, by the rule.
    """
    model = copy.deepcopy(model).to("meta").eval()
    inputs = [torch.empty(1, bands, size, size, device="meta") for bands in (primary, auxiliary)]
    with _counting() as counter:  # one pass for both: on the meta device, too, a pass takes time
        macs, params_rule = count_by_rule(model, *inputs)
        flops = counter.flops
    one_form = not _aux_on(model) and not any(hasattr(module, "form") for module in model.modules())
    return Cost(
        params=sum(parameter.numel() for parameter in model.parameters()),
        params_rule=params_rule,
        gmacs_rule=macs / 1e9,
        gflops_rule=flops_per_mac * macs / 1e9,
        gflops=flops / 1e9,
        gflops_run=(flops if one_form else _true_flops(model, inputs)) / 1e9,
    )


@cache
def cost_of(name: str, primary: int | None = None, size: int = 512) -> Cost:
    """Cost of a network of the registry, counted once: commands and pages ask for the same ones (``kept_costs``).

    Args:
        primary: bands of its primary input; None: those of its row.
        size: height and width in pixels.

    Raises:
        UsageError: there is no such network, or an extra is missing.
    """
    ours = name in MODELS
    found = kept_costs.kept(name, primary, size) if ours else None
    if found is not None and found.keys() == {field.name for field in fields(Cost)}:
        return Cost(**found)
    cost = _counted(name, primary, size)
    if ours:
        kept_costs.keep(name, primary, size, asdict(cost))
    return cost


def _counted(name: str, primary: int | None, size: int) -> Cost:
    settings = configure(name, primary)
    with without_weights():
        network = build(name, primary)
    bands = (settings.primary_bands, settings.auxiliary_bands)
    return count(network, *bands, size, flops_per_mac=spec(name).flops_per_mac)


def count_by_rule(model: nn.Module, *inputs: Tensor) -> tuple[int, int]:
    """(multiply-accumulates, parameters) by the paper's rule: in plain forms, auxiliary heads included."""
    macs: dict[nn.Module, int] = {}

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        macs[module] = macs.get(module, 0) + COUNTING_RULES[type(module)](module, args[0], output)

    handles = [module.register_forward_hook(hook) for module in model.modules() if type(module) in COUNTING_RULES]
    training = model.training
    try:
        with torch.no_grad(), plain_forms(model.eval()):
            model(*inputs, **_aux_on(model))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return sum(macs.values()), sum(p.numel() for module in macs for p in module.parameters())


def _aux_on(model: nn.Module) -> dict[str, bool]:
    """What makes a network run its auxiliary head too: Table II counts it."""
    return {"aux": True} if getattr(model, "has_aux", False) else {}


def _true_flops(model: nn.Module, inputs: list[Tensor]) -> int:
    with torch.no_grad(), _counting() as counter:
        model(*inputs)
    return counter.flops


@contextmanager
def _counting() -> Iterator[CountedOperations]:
    """Attention in its explicit form: the fused kernels hide their products from the counter on some devices."""
    with sdpa_kernel(SDPBackend.MATH), CountedOperations() as counter:
        yield counter


@contextmanager
def plain_forms(model: nn.Module) -> Iterator[None]:
    """Runs every module that has a ``form`` (a decoder, an attention) in its plain one."""
    modules = [module for module in model.modules() if hasattr(module, "form")]
    forms = [module.form for module in modules]
    for module in modules:
        module.form = "plain"  # type: ignore[assignment]  # torch knows tensors and modules alone
    try:
        yield
    finally:
        for module, form in zip(modules, forms, strict=True):
            module.form = form


Rule = Callable[[Any, Tensor, Tensor], int]


def _convolution(module: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel() * (x.shape[1] // module.groups) * prod(module.weight.shape[2:]))


def _linear(module: Any, _x: Tensor, y: Tensor) -> int:
    return y.numel() * int(module.in_features)


def _norm(module: Any, x: Tensor, _y: Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _softmax(module: Any, x: Tensor, _y: Tensor) -> int:
    row = int(x.shape[module.dim])
    return x.numel() // row * (3 * row - 1)


def _adaptive_pool(_module: Any, x: Tensor, y: Tensor) -> int:
    window = prod(a / b for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


_PER_OUTPUT = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 224 + 35}


def _upsample(module: Any, _x: Tensor, y: Tensor) -> int:
    return _PER_OUTPUT.get(module.mode, 0) * y.numel()


def _one_per_output(_module: Any, _x: Tensor, y: Tensor) -> int:
    return y.numel()


def _one_per_input(_module: Any, x: Tensor, _y: Tensor) -> int:
    return x.numel()


def _free(_module: Any, _x: Tensor, _y: Tensor) -> int:
    return 0


COUNTING_RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    nn.Linear: _linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    nn.Softmax: _softmax,
    nn.PReLU: _one_per_input,
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _one_per_output),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_pool),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Dropout, nn.PixelShuffle, nn.ZeroPad2d), _free),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _free),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _free),
}
"""Multiply-accumulates of one call, by the module's exact type: a subclass is not counted."""

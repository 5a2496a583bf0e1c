"""Domains: which values each setting of a training and of a network may have, checked before anything is read.

One table for all settings, by name: what is called the same means the same. Settings that are switches, choices or
names are checked by their type (``config.from_mapping``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Any

from ..pipeline.errors import UsageError, in_brief
from ..pipeline.spec.classes import FEWEST_CLASSES, MOST_CLASSES


@dataclass(frozen=True)
class Domain:
    """Numbers that a setting may have; of a list, each of its numbers.

    Attributes:
        least, most: both may be reached.
        above: the least value itself may not be reached.
        below: the largest value itself may not be reached.
        whole: whole numbers only.
        why: what to know, after the bounds.
    """

    least: float = -inf
    most: float = inf
    above: bool = False
    below: bool = False
    whole: bool = False
    why: str = ""

    def holds(self, value: Any) -> bool:
        """Whether a value, or every number of a list, is inside; what is no number is."""
        if isinstance(value, tuple | list):
            return all(self.holds(item) for item in value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        inside = isfinite(value) and self.least <= value <= self.most and not (self.whole and value != int(value))
        return inside and not (self.above and value == self.least) and not (self.below and value == self.most)

    def __str__(self) -> str:
        low, high = f"{self.least:g}", f"{self.most:g}"
        lower = f"above {low}" if self.above else f"{low} or more"
        upper = "" if self.most == inf else f", below {high}" if self.below else f", {high} at most"
        exact = f"{low}" if self.least == self.most else f"{lower}{upper}"
        exact = f"a whole number, {exact}" if self.whole else exact
        return f"{exact}; {self.why}" if self.why else exact


_COUNT = Domain(1, 1_000_000, whole=True)
_WIDTH = Domain(1, 65_536, whole=True)
_SHARE = Domain(0, 1, below=True, why="it is a share")
_RATIO = Domain(0, above=True)

DOMAINS: dict[str, Domain] = {
    # Training.
    "epochs": Domain(0, 1_000_000, whole=True),
    "steps": _COUNT,
    "lr_encoder": Domain(0, 100, above=True, why="it is a factor on lr; freeze leaves the encoder as it is"),
    "labels_share": Domain(0, 1, above=True, why="it is a share of the training tiles"),
    **dict.fromkeys(("drop_auxiliary", "drop_primary"), Domain(0, 1, why="it is a share of the pixels")),
    "batch": _COUNT,
    "batch_per_device": _COUNT,
    "lr": Domain(0, above=True),
    "weight_decay": Domain(0),
    "clip_norm": Domain(0, above=True, why="it is a norm; leave it out to clip nothing"),
    "expert_weight": Domain(0, 1000, above=True),
    "non_expert_weight": Domain(0, 1000, above=True),
    "warmup_epochs": Domain(0, 1_000_000),
    "gamma": Domain(0, 100, why="0 is weighted cross entropy"),
    "aux_weight": Domain(0, 100),
    "crop_px": Domain(1, 65_536, whole=True),
    "seed": Domain(0, 2**63 - 1, whole=True),
    "validate_every": _COUNT,
    "checkpoint_every": _COUNT,
    "checkpoint_minutes": Domain(0, 1_000_000, why="0 is after each step"),
    "average_last": Domain(0, 1_000_000, whole=True, why="0 averages none"),
    "pictures_every": Domain(0, 1_000_000, whole=True, why="0 draws none"),
    "workers": Domain(0, 1024, why="0 reads in the process that trains"),
    "keep_mb": Domain(0, 10_000_000),
    # Inputs and outputs of networks.
    "classes": Domain(FEWEST_CLASSES, MOST_CLASSES, whole=True),
    "primary_bands": Domain(0, 1000),
    "auxiliary_bands": Domain(0, 1000),
    # Shares of what training leaves out.
    **dict.fromkeys(("attention_dropout", "dropout", "dropouts", "drop_path"), _SHARE),
    # Channels.
    **dict.fromkeys(
        (
            *("aux_channels", "decoder_width", "decoder_widths", "entry_widths", "exit_widths", "expert_width"),
            *("group_width", "head_channels", "low_level_width", "mlp_width", "prior_width", "skip_width"),
            *("stem_width", "stem_widths", "token_width", "width", "widths", "squeeze", "norm_groups"),
        ),
        _WIDTH,
    ),
    # Numbers of blocks, heads, points.
    **dict.fromkeys(
        (
            *("auxiliary_heads", "blocks", "deform_heads", "deform_points", "depth", "depths", "fuse_heads", "heads"),
            *("middle_blocks", "units"),
        ),
        Domain(1, 1024, whole=True),
    ),
    "layers": Domain(0, 1024, whole=True),
    # Cells and steps.
    **dict.fromkeys(
        (
            *("bins", "dilations", "grid", "head_dilations", "offset_scale", "output_stride", "patch", "pooled"),
            *("pools", "position_side", "rates", "reductions", "split", "window"),
        ),
        Domain(1, 4096, whole=True),
    ),
    # Ratios of widths.
    **dict.fromkeys(
        (*("auxiliary_ffn_ratios", "deform_ratio", "extractor_ffn_ratio", "ffn_ratio", "gate_ratio", "query_ratio"),),
        _RATIO,
    ),
    "undilated": Domain(0, 1024, whole=True),
    "layer_scale": Domain(),
    "norm_eps": Domain(0, 1, above=True),
}
"""Setting -> what it may be, for every setting that is a number or a list of numbers."""


def check_domain(name: str, value: Any, *, where: str) -> None:
    """Make sure that a setting is inside its domain.

    Args:
        where: what the setting belongs to, and its name, for the message.

    Raises:
        UsageError: it is not; names the setting, its value and its domain.
    """
    domain = DOMAINS.get(name)
    if domain is not None and not domain.holds(value):
        raise UsageError(f"{where} is {in_brief(repr(value), 80)}; it must be {domain}")


def check_domains(settings: Any) -> None:
    """``check_domain`` of every field of a settings dataclass."""
    for field in fields(settings):
        check_domain(field.name, getattr(settings, field.name), where=field.name)

"""Words that several commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pipeline.build.budget import Range


def mark(source: str) -> str:
    """Beside a number: who the pixels came from, where it was not Google's service."""
    from ..pipeline.spec.sources import Source

    return Source.of(source).tag


def figure(title: str, unit: str, value: Range) -> str:
    """One line of an estimate: title, figures with their unit, and where they come from."""
    return f"{title:<12} {value.figures} {unit}: {value.basis}"

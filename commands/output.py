"""Words that several commands print."""

from __future__ import annotations


def mark(source: str) -> str:
    """Beside a number: who the pixels came from, where it was not Google's service."""
    return "" if source == "earthengine" else f"[{source}]"

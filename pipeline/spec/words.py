"""Words: numbers with their noun, as messages and pages print them."""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str = "") -> str:
    """``1 tile``, ``2 tiles``, ``1,234 tiles``; ``plural`` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

"""HTML of a page: a template of this folder with the style that all pages share, in one file without links."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...pipeline.spec.words import count_of

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, content: Mapping[str, Any]) -> bytes:
    """A page, UTF-8.

    Args:
        template: name of a file of this folder; it may include others, by their paths below it.
        content: what it shows, by name; a name that it lacks is an error.
    """
    style = _text("page.css")
    page = _environment().get_template(template).render(style=style, **content)
    # Attributes stand in double quotes: an apostrophe is harmless everywhere, and readable in the source.
    return page.replace("&#39;", "'").encode()


@cache
def _environment() -> Environment:
    """Kept with its templates: to compile those of a report takes longer than to fill them."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_text)
    )
    environment.filters.update(percent=_percent, number=_number, counted=count_of, capitalised=_capitalised)
    return environment


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def embed(picture: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """A picture as a URL that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _capitalised(words: str) -> str:
    """The first letter alone: ``capitalize`` of Jinja makes the others small."""
    return words[:1].upper() + words[1:]


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}"

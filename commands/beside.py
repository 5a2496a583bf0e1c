"""``dwplus build --l1c`` and ``--products``: what lies beside the shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import ExitCode, UsageError
from ..pipeline.spec.words import count_of
from .output import mark

if TYPE_CHECKING:
    from ..pipeline.build.beside import BesideResult
    from ..pipeline.build.build import BuildSetup, Selection
    from ..pipeline.dataset.root import DataRoot


def write_beside(
    options: dict[str, Any],
    selection: Selection,
    set_up: Callable[[dict[str, Any]], AbstractContextManager[tuple[DataRoot, BuildSetup]]],
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Write what was asked for beside the shards of complete tiles; nothing else is built."""
    from ..pipeline.build.beside import build_beside
    from ..pipeline.build.build import select_rows
    from ..pipeline.spec.layers import L1C, product_layer, products
    from ..workflow.source import existing_root

    root = existing_root(options["data"], options["source"])
    if root.added_pixels() is not None:
        raise UsageError(f"nothing is requested where pixels were added ({root}); leave --l1c and --products out")
    layers = [L1C] if options["l1c"] else []
    layers += [product_layer(name) for name in products()] if options["products"] else []
    rows = select_rows(root.manifest().rows, selection)
    if dry_run:
        complete = {tile for tile, row in root.ledger().items() if row.state == "done"}
        shapes = [row.tile.shape for row in rows if row.tile.id in complete]
        requests, tiles = count_of(len(shapes) * len(layers), "request"), count_of(len(shapes), "tile")
        most = sum(layer.most_bytes(shape) for layer in layers for shape in shapes) / 1e6
        size = f"{most / 1000:,.1f} GB" if most >= 1000 else f"{most:.1f} MB"
        click.echo(f"{root}: at most {requests}, one for each layer of {tiles}, and {size}")
        return
    source = options["source"] if options["source"] != "auto" else root.folder.name
    with set_up({**options, "source": source, "pilot": None}) as (_, setup):
        results = build_beside(root, layers, rows, setup)
    _print(root, results, as_json=as_json)
    if any(one.stopped for one in results):
        raise SystemExit(ExitCode.QUOTA)
    if any(one.failed for one in results):
        raise SystemExit(ExitCode.FAILED_TILES)


def _print(root: DataRoot, results: list[BesideResult], *, as_json: bool) -> None:
    if as_json:
        layers = {one.layer.name: {"tiles": one.tiles, "states": one.states, "stopped": one.stopped} for one in results}
        click.echo(json.dumps({"root": str(root), "layers": layers}, indent=1))
        return
    for one in results:
        missing = ", ".join(f"{number} {state}" for state, number in one.states.items() if state != "done")
        done = f"{one.states.get('done', 0)} of {count_of(one.tiles, 'tile')}"
        line = f"{root}/{one.layer.folder}: {done} {mark(root.source())}".rstrip()
        click.echo(f"{line}  ({missing})" if missing else line)

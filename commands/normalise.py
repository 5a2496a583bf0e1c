"""``dwplus normalise``: normalisation statistics of the training split, and the training store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..pipeline.errors import LeftOutError
from ..pipeline.spec.words import count_of
from .options import cluster_options, quiet_option, readable_data_options, source_option
from .output import mark

if TYPE_CHECKING:
    from ..pipeline.cluster import Runner
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.progress import Progress


@click.command()
@source_option
@readable_data_options
@quiet_option
@cluster_options
@click.option("--again", is_flag=True, help="Read all shards again, also those that are validated and counted.")
@click.option("--store", is_flag=True, help="Write store.zarr too: faster to read than shards; needs dwplus[store].")
def normalise(
    source: str,
    data: Path | str,
    out: Path | None,
    quiet: bool,
    workers: int | None,
    scheduler: str | None,
    again: bool,
    store: bool,
) -> None:
    """Take the statistics of the training split (stats-strict.json, stats-paper.json), and of all groups of tiles.

    Tiles that were not validated yet are, in the same pass. Where nothing changed, nothing is read.

    \b
    dwplus normalise
    dwplus normalise --data s3://bucket/data/earthengine --out checked --scheduler tcp://10.0.0.5:8786
    dwplus normalise --store                          and write, or bring up to date, the training store
    """
    from ..pipeline.build.build import inspect_root
    from ..pipeline.cluster import open_cluster
    from ..workflow.console import console
    from ..workflow.source import existing_root

    root, progress = existing_root(data, source, out=out), console(quiet=quiet)
    with open_cluster(workers=workers, scheduler=scheduler) as run:
        for statistics in inspect_root(root, run=run, progress=progress, all_again=again)[1]:
            said = f"{count_of(statistics.tiles, 'tile')} {mark(statistics.source)}"
            click.echo(f"{root.statistics_file(statistics.protocol)}  {said}")
        if store:
            click.echo(_write_store(root, run, progress))
    # Statistics of the rest are worth having, and are not those of the data set.
    if faults := root.ledger_faults():
        raise LeftOutError("; ".join(faults))


def _write_store(root: DataRoot, run: Runner, progress: Progress) -> str:
    """Write the training store; one line about it."""
    from ..pipeline.dataset.store import write_store

    with progress.stage("Writing the training store", None) as step:
        report = write_store(root, run=run, on_plan=lambda tiles: step.set(0, tiles), on_tiles=step.advance)
    said = (
        f"{count_of(report.tiles, 'tile')}, {report.written} of them written now ({report.bytes_written / 1e9:.2f} GB)"
    )
    return f"{root.store}  {said} {mark(root.source())}".rstrip()

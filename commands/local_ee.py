"""The embedded local Earth Engine by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..pipeline.errors import ExitCode


@click.group("local-ee")
def local_ee() -> None:
    """The embedded local Earth Engine by itself: a server on this machine that speaks Earth Engine's API to the real
    client, over the scenes of a synthetic planet. Its pixels are synthetic (SANDBOX).

    \b
    dwplus local-ee serve --port 8085
    """


@local_ee.command(short_help="Start it in the foreground; Ctrl-C ends it.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 = any that is free.")
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the synthetic planet.")
@click.option("--tiles", type=click.IntRange(6, 5000), default=132, show_default=True, help="Label tiles it releases.")
@click.option(
    "--faults",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of what goes wrong on purpose: [[fault]] tables, latency, quotas.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that compute; default: one for each core.")
@click.option("--latency", type=click.FloatRange(0, 600), help="Seconds that each answer takes more.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Requests at a time; more get 429.")
@click.option("--per-second", type=click.FloatRange(0, min_open=True), help="Requests per second; more get 429.")
def serve(
    port: int,
    seed: int,
    tiles: int,
    faults: Path | None,
    workers: int | None,
    latency: float | None,
    max_concurrent: int | None,
    per_second: float | None,
) -> None:
    """Start a local Earth Engine in the foreground and print how to connect to it; Ctrl-C ends it.

    \b
    dwplus local-ee serve
    dwplus local-ee serve --port 8085 --max-concurrent 40
    dwplus local-ee serve --faults plan.toml

    \b
    A plan holds what goes wrong, for whom and how often (all of it: docs/local-earth-engine.md):
      latency = {kind = "lognormal", median_s = 1.0, sigma = 0.5, seed = 1}
      [[fault]]
      match = "computePixels"
      skip = 2
      times = 1
      status = 429
      retry_after = 3
    """
    from ..local_ee.launch import LocalEarthEngine, how_to_connect
    from ..local_ee.server.faults import PlanFile, read_plan
    from ..pipeline.errors import ServiceError

    plan = PlanFile([]) if faults is None else read_plan(faults)
    engine = LocalEarthEngine(
        {"kind": "earth", "seed": seed},
        tiles,
        plan.faults,
        workers,
        port=port,
        latency=(plan.latency or 0.0) if latency is None else latency,
        max_concurrent=max_concurrent or plan.max_concurrent,
        per_second=per_second or plan.per_second,
        stderr=sys.stderr,
    )
    with engine:
        click.echo(how_to_connect(engine, seed))
        try:
            code = engine.wait()
        except KeyboardInterrupt:
            click.echo("dwplus: the local Earth Engine has ended", err=True)
            raise SystemExit(ExitCode.INTERRUPTED) from None
    raise ServiceError(f"the local Earth Engine at {engine.url} ended by itself (exit code {code})")

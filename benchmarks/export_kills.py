"""Kill a build with SIGKILL twenty times, start it again each time, and compare it with an undisturbed build.

    python benchmarks/export_kills.py [kills] [--tiles 60] [--seed 1]

``rigs/killed_builds.py`` says when the kills happen. Bars: shards are byte-identical to those of the undisturbed build,
no ``*.part`` file remains below the data folder, the ledger can be read, and only tiles that were in flight at a kill
are fetched twice. The exit code is 1 where one is missed.

``tests/end_to_end/test_kills.py`` does the same with three kills.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rigs import arguments
from rigs.killed_builds import CONCURRENCY, Comparison, Outcome, compare


def problems_of(result: Comparison, kills: int) -> list[str]:
    missing = kills - len(result.outcome.killed)
    late = [f"{missing} kills did not happen: the build ended before them"] if missing else []
    return [*result.problems(), *late]


def report(outcome: Outcome, kills: int, problems: list[str]) -> None:
    print(f"{len(outcome.killed)} of {kills} kills happened: {', '.join(map(str, outcome.killed))}")
    print(
        f"{outcome.twice} tiles fetched twice; {outcome.in_flight} were in flight at the kills, at most "
        f"{outcome.widest} at one (--concurrency {CONCURRENCY})"
    )
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print(f"{len(problems)} problems" if problems else "shards byte-identical, no temporary files, ledger readable")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=20)
    parser.add_argument("--tiles", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = arguments.parse(parser, kills=2, tiles=2)
    with tempfile.TemporaryDirectory() as name:
        result = compare(Path(name), tiles=options.tiles, kills=options.kills, seed=options.seed)
        problems = problems_of(result, options.kills)
    report(result.outcome, options.kills, problems)
    sys.exit(bool(problems) and not options.tiny)


if __name__ == "__main__":
    main()

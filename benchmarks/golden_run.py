"""Golden run: did a change of code move a number that it should not have moved?

    make reproduce && cp data/sandbox/report/verdicts.json before.json
    (change the code, delete data/sandbox/runs)
    make reproduce
    python benchmarks/golden_run.py before.json data/sandbox/report/verdicts.json
    python benchmarks/golden_run.py before.json after.json --may-move table2.cmx.flops --may-move section3

Compares two ``verdicts.json``: verdict, value, seeds and interval of every number of the paper. Numbers that may move
are named by key, or by the beginning of one. Scores are compared to ``--tolerance`` (percent points; another machine
rounds otherwise). Exit code 1 where a number moved that may not.

Bar: none has moved.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dwplus.workflow.reproduction.numbers import paper_numbers
from dwplus.workflow.reproduction.ours import costs, settings
from dwplus.workflow.reproduction.verdicts import judge_all
from rigs import arguments

COMPARED = ("paper", "verdict", "ours", "values", "interval", "of", "unlike")
"""Of each number; hours, commands and notes are words about it."""


def moved(
    before: Mapping[str, Any], after: Mapping[str, Any], *, may_move: Collection[str] = (), tolerance: float = 0.0
) -> list[str]:
    """What differs between two documents of verdicts, a line each; numbers that may move are left out.

    Args:
        may_move: keys of numbers, or beginnings of keys.
        tolerance: largest difference of two values that counts as none, in the paper's unit.
    """
    lines = [
        f"{what}: {before[what]} before, {after[what]} after: two reproductions cannot be compared"
        for what in ("scope", "source")
        if before[what] != after[what]
    ]
    old, new = ({one["key"]: one for one in document["numbers"]} for document in (before, after))
    for key in {**old, **new}:
        if any(key == one or key.startswith(f"{one}.") for one in may_move):
            continue
        if key not in old or key not in new:
            lines.append(f"{key}: {'not in the first' if key not in old else 'not in the second'}")
            continue
        lines += [
            f"{key}: {what} {old[key][what]} before, {new[key][what]} after"
            for what in COMPARED
            if not same(old[key][what], new[key][what], tolerance)
        ]
    return lines


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two values of a document are the same; numbers to a tolerance, lists item by item."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return abs(one - other) <= tolerance
    return bool(one == other)


def read(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert {"scope", "source", "numbers"} <= document.keys()
    except (OSError, ValueError, AttributeError, AssertionError) as error:
        sys.exit(f"{path} is no verdicts.json ({error or 'fields are missing'}); name one that make reproduce wrote")
    return document


def tiny() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Verdicts on costs and settings, and the same with one figure changed."""
    costs_, settings_ = costs(), settings()
    ours = {
        number.key: found
        for number in paper_numbers()
        if (found := settings_.get(number.key) or costs_.get((number.row, number.metric))) is not None
    }
    numbers = [verdict.to_dict() for verdict in judge_all(paper_numbers(), ours, {})]
    changed = [{**one, "ours": 115.0} if one["key"] == "table2.cmx.flops" else one for one in numbers]
    head = {"scope": "sandbox", "source": "SANDBOX"}
    return {**head, "numbers": numbers}, {**head, "numbers": changed}


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("before", type=Path, nargs="?")
    parser.add_argument("after", type=Path, nargs="?")
    parser.add_argument("--may-move", action="append", default=[], metavar="KEY")
    parser.add_argument("--tolerance", type=float, default=0.0)
    options = arguments.parse(parser)
    if not options.tiny and options.after is None:
        parser.error("name two files verdicts.json, of before and after the change")
    before, after = tiny() if options.tiny else (read(options.before), read(options.after))
    lines = moved(before, after, may_move=options.may_move, tolerance=options.tolerance)
    for line in lines:
        print(line)
    print(f"{len(before['numbers'])} numbers, {len(lines)} moved (bar 0)")
    if lines and not options.tiny:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""How long ``dwplus --help`` takes, beside an interpreter that does nothing. Bar: 0.5 s.

python benchmarks/help_time.py
"""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 9
COMMANDS = {"python -c pass": ["-c", "pass"], "dwplus --help": ["-m", "dwplus.cli", "--help"]}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Interleaved rounds, so that other load meets both alike; prints medians and their ratio."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    medians = {name: sorted(values)[ROUNDS // 2] for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:16} {median:.3f} s")
    print(f"ratio            {medians['dwplus --help'] / medians['python -c pass']:.1f}")


if __name__ == "__main__":
    main()

"""Measures the figures of the documentation that come from the sandbox anew, and writes them into their pages.

    make reproduce
    python benchmarks/sandbox_figures.py --data data/sandbox --chips CHIPS --before b27a094      all of them, an hour
    python benchmarks/sandbox_figures.py networks pictures --data data/sandbox                   some of them

To be run after a change of the planet, of the profile ``sandbox`` or of a network. A page marks what is written here
(``rigs/pages.py``); everything around it is written by hand and says nothing that a change would make wrong. Other
benchmarks do the measuring; what each prints as Markdown goes into the page as it is.

    properties   docs/planet.md     planet_properties.py: the planet beside real imagery
    forest       docs/planet.md     planet_difficulty.py: a random forest on single pixels
    networks     docs/planet.md     scores of the runs that ``make reproduce`` made
    products     docs/products.md   scores of public maps: build --products, score --product
    transfer     docs/transfer.md   transfer.py: the gain by --init
    choices      docs/choices.md    choices.py: what the trial found so far
    pictures     docs/images        planet_pictures.py: those of planet.md and of README.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

from rigs import arguments, pages

FOLDER = Path(__file__).parent
PAGES = {
    "properties": "planet.md",
    "forest": "planet.md",
    "networks": "planet.md",
    "products": "products.md",
    "transfer": "transfer.md",
    "choices": "choices.md",
}
"""Name of a measured part -> its page."""

NAMES = (*PAGES, "pictures")
OF_THE_DATA = ("networks", "products", "pictures")
"""What is read from a data root that was built, trained and scored before."""


def known(name: str) -> str:
    """A name of ``NAMES``; argparse would look for the default list among ``choices``."""
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(NAMES)}")
    return name


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("names", nargs="*", type=known, metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--data", type=Path, help="data root that make reproduce made")
    parser.add_argument("--chips", help="folder of real chips, for the properties")
    parser.add_argument("--before", help="revision whose planet stands in the column 'before'")
    parser.add_argument("--docs", type=Path, default=FOLDER.parent / "docs")
    options = arguments.parse(parser, names=["properties", "forest", "transfer", "choices"])
    with tempfile.TemporaryDirectory() as place:
        if options.tiny:
            options.docs = Path(copytree(options.docs, Path(place) / "docs"))
        for name in options.names or NAMES:
            if name in OF_THE_DATA and options.data is None:
                sys.exit(f"{name}: --data names no data root; run 'make reproduce', then --data data/sandbox")
            MAKERS[name](options)
            print(f"{name}: {options.docs / PAGES.get(name, 'images')}", flush=True)


# --- parts that other benchmarks measure ------------------------------------------------------------------------------


def _measured(script: str, *words: str) -> Callable[[argparse.Namespace], None]:
    """Writes the Markdown that a benchmark prints."""
    name = {"planet_properties": "properties", "planet_difficulty": "forest"}.get(script, script)

    def make(options: argparse.Namespace) -> None:
        more = [*words, *(["--tiny"] if options.tiny else [])]
        if script == "planet_properties":
            more += [options.chips] if options.chips else []
            more += ["--before", options.before] if options.before else []
        if script == "transfer" and options.data is not None:
            more += ["--data", str(options.data)]
        _write(options, name, _printed(script, more).splitlines())

    return make


def _printed(script: str, words: Sequence[str]) -> str:
    """What a benchmark prints; its progress goes past it to the terminal."""
    command = [sys.executable, str(FOLDER / f"{script}.py"), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{script}.py failed: {done.stdout[-2000:]}")
    return done.stdout.removeprefix(f"{arguments.TINY}\n").strip("\n")


def _pictures(options: argparse.Namespace) -> None:
    _printed("planet_pictures", ["--data", str(options.data), "--to", str(options.docs / "images")])


def _write(options: argparse.Namespace, name: str, lines: Sequence[str]) -> None:
    pages.write(options.docs / PAGES[name], name, lines)


# --- parts that are read from a data root -----------------------------------------------------------------------------


def _networks(options: argparse.Namespace) -> None:
    rows = ["| run | network | Sentinel-1 | OA | mIoU |", "|---|---|---|---|---|"]
    documents = {path.parent: _json(path) for path in options.data.glob("runs/*/scores.json")}
    for run, scores in sorted(documents.items(), key=lambda item: -item[1]["miou"]):
        data = _json(run / "config.json")["data"]
        radar = "yes" if data["auxiliary"] else "no"
        values = " | ".join(_with_interval(scores, scores["intervals"], key) for key in ("oa", "miou"))
        rows.append(f"| `{run.name}` | `{scores['model']}` | {radar} | {values} |")
    _write(options, "networks", rows)


def _products(options: argparse.Namespace) -> None:
    from dwplus.model.products import BesideScores, merge
    from dwplus.pipeline.spec.layers import products

    rows = ["| map | OA | mIoU | eight classes: OA | pixels it says nothing of |", "|---|---|---|---|---|"]
    together = frozenset().union(*(product.merged for product in products().values()))
    for path in sorted(options.data.glob("products/*/scores.json")):
        document = _json(path)
        scores = BesideScores.from_dict(document)
        tells_all = merge(scores.own, together) is not scores.own
        values = [_with_interval(document["own"], document["intervals"], key) for key in ("oa", "miou")]
        cells = [*(values if tells_all else "--"), f"{100 * merge(scores.own, together).oa:.1f}"]
        rows.append(f"| {scores.title} | {' | '.join(cells)} | {100 * scores.lost_pixels / scores.labelled:.1f} % |")
    _write(options, "products", rows)


def _with_interval(scores: Mapping[str, Any], intervals: Mapping[str, Any] | None, key: str) -> str:
    """``74.8 [69.7, 79.3]``, percent."""
    if scores.get(key) is None:
        return "-"
    bounds = (intervals or {}).get(key)
    return f"{100 * scores[key]:.1f}" + (f" [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]" if bounds else "")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


MAKERS: dict[str, Callable[[argparse.Namespace], None]] = {
    "properties": _measured("planet_properties"),
    "forest": _measured("planet_difficulty"),
    "networks": _networks,
    "products": _products,
    "transfer": _measured("transfer"),
    "choices": _measured("choices", "tables"),
    "pictures": _pictures,
}


if __name__ == "__main__":
    main()

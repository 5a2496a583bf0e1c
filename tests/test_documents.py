"""Documents: what they name exists, and what they show runs."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from dwplus import cli
from dwplus.local_ee.catalogue.annotations import world_seed
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.catalogue.sites import sandbox_tiles
from dwplus.local_ee.planet.planet import make_planet
from dwplus.pipeline.spec.test_tiles import known_test_tiles
from support.in_process import as_in, run_here
from support.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MORE_PAGES = [REPOSITORY / "benchmarks" / "README.md", REPOSITORY / "tests" / "live" / "README.md"]


def test_every_page_is_found_from_a_question() -> None:
    table = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")

    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_files_that_contributors_are_sent_to_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")

    paths = re.findall(r"`((?:pipeline|model|local_ee|workflow|commands|tests|docs|benchmarks)/[\w./]*)`", text)
    assert len(paths) > 20
    for path in paths:
        assert (REPOSITORY / path).exists(), path


def test_the_walks_name_files_that_exist() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = text.split("## Four walks")[1].split("## Decisions")[0]

    files = re.findall(r"^    ((?:pipeline|model|local_ee|workflow|commands)/\S+\.py)", walks, flags=re.MULTILINE)
    assert len(files) > 30
    for path in files:
        assert (REPOSITORY / path).exists(), path


# --- Python -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set of the sandbox, as the pages suppose it: ``data/sandbox``, with a store."""
    folder = tmp_path_factory.mktemp("documents")
    for command in ("build --source sandbox --tiles 6", "normalise --store"):
        done = run_here(*command.split(), "--workers", "1", "-q", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


BLOCKS = [pytest.param(code, id=f"{page.name}-{n}") for page in PAGES for n, code in enumerate(python_of(page))]


@pytest.mark.parametrize("code", BLOCKS)
def test_the_python_of_every_page_runs_as_it_is_written(built: Path, code: str) -> None:
    if "dwplus.show" in code and importlib.util.find_spec("geemap") is None:
        pytest.skip("geemap is not installed (pip install 'dwplus[map]')")
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        with as_in(built):
            exec(code, names)
    finally:
        if "ee" in names:  # it connected the whole process to a server
            names["ee"].Reset()
            names["engine"].stop()


def test_the_sample_of_the_readme_has_the_shape_that_it_says(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built)
    names: dict[str, object] = {}

    exec(python_of(REPOSITORY / "README.md")[0], names)

    sample = names["sample"]
    assert (sample.primary.shape, sample.primary.dtype) == ((10, 510, 510), np.uint16)


# --- command lines ----------------------------------------------------------------------------------------------------


def commands_of(group: click.Group) -> Iterator[click.Command]:
    yield group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield from commands_of(command) if isinstance(command, click.Group) else [command]


def lines_of_page(text: str) -> Iterator[str]:
    """Command lines of a page: of blocks that are set in, and between backticks or quotes."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"^(?:    |\$ )(dwplus .*)$", prose, flags=re.MULTILINE):
        yield re.split(r"\s{2,}|\s#", line)[0]
    for line in re.findall(r"`(dwplus [^`]*)`|'(dwplus [^'`|]*)'", re.sub(r"\s+", " ", prose)):
        yield line[0] or line[1]


def lines_of_help(command: click.Command) -> Iterator[str]:
    """Command lines of a help text; what follows two spaces explains them."""
    text = "\n".join([command.help or "", *(getattr(p, "help", None) or "" for p in command.params)])
    for line in re.findall(r"^\s*(dwplus .*)$", text, flags=re.MULTILINE):
        yield re.split(r"\s{2,}", line)[0]
    yield from re.findall(r"'(dwplus [^'\n]*)'", text)


def lines_of_messages(path: Path) -> Iterator[str]:
    """Command lines that errors and messages tell the user to run; what is filled in stands as ``{}``."""
    text = path.read_text(encoding="utf-8")
    if "'dwplus " not in text:
        return  # a tree of each file would take seconds of every collection
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts = [str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield from re.findall(r"'(dwplus [^'\n]*)'", "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"'(dwplus [^'\n]*)'", node.value)


MESSAGES = [
    path for part in ("pipeline", "model", "workflow", "commands") for path in (REPOSITORY / part).rglob("*.py")
]
WRITTEN = sorted(
    {
        *(line for page in (*PAGES, *MORE_PAGES) for line in lines_of_page(page.read_text(encoding="utf-8"))),
        *(line for command in commands_of(cli.cli) for line in lines_of_help(command)),
        *(line for path in MESSAGES for line in lines_of_messages(path)),
    }
)
FILLED_IN = {"{}": "sandbox", "N": "7", "H": "7", "FILE": str(REPOSITORY / "README.md")}
"""What stands for a value of the user's, and a value that fits wherever a command line has it."""


def parse(line: str) -> None:
    """Parse a command line against the commands, and run nothing.

    Raises:
        click.UsageError: a command or an option does not exist, or a value cannot be.
    """
    words = [FILLED_IN.get(word, word) for word in shlex.split(re.sub(r"\.\.\.|[\[\]]", "", line))[1:]]
    command: click.Command = cli.cli
    context = click.Context(command, info_name="dwplus")
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]}")
        command, words = found, words[1:]
    if not words or words == ["--help"]:
        return
    try:
        command.make_context("dwplus", list(words))
    except click.BadOptionUsage as error:
        if "requires an argument" not in error.format_message() or not words[-1].startswith("--"):
            raise  # a sentence may name an option alone


def test_there_are_command_lines_to_look_at() -> None:
    assert len(WRITTEN) > 80
    assert {"dwplus build --split train --limit 24", "dwplus validate --strict", "dwplus local-ee serve"} <= set(
        WRITTEN
    )


@pytest.mark.parametrize("line", WRITTEN)
def test_every_command_line_that_is_written_somewhere_can_be_parsed(line: str) -> None:
    parse(line)


@pytest.mark.parametrize(
    "line", ["dwplus bild", "dwplus build --regoin all", "dwplus status --by planet", "dwplus status a b"]
)
def test_a_command_line_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_tile_ids_of_pages_and_help_texts_are_of_released_tiles_that_the_sandbox_has() -> None:
    planet = make_planet({"kind": "earth", "seed": 7})
    sandbox = {one.tile.id for one in sandbox_tiles(Catalogue(planet), 132, seed=world_seed(planet))}
    released = {tile.id for tile in known_test_tiles()}

    for line in WRITTEN:
        for tile in re.findall(r"dw_\S+-\d{8}", line):
            assert tile in sandbox & released, line
        if part := re.search(r"labels show (\d+\.\d+)", line):
            assert [sum(part[1] in tile for tile in tiles) for tiles in (sandbox, released)] == [1, 1], line


@pytest.mark.slow
def test_starting_small_ends_with_scores_and_a_report(tmp_path: Path) -> None:
    block = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("Start small:")[1].split("- Every command")[0]
    commands = [re.split(r"\s{2,}", line.strip())[0] for line in re.findall(r"^    dwplus .*$", block, re.MULTILINE)]
    assert len(commands) == 5
    shorter = {"build": "--tiles 40 --workers 1", "train": "--epochs 1 --set device=cpu --set workers=0"}

    for command in commands:
        words = f"{command} --source sandbox {shorter.get(command.split()[1], '')}".split()[1:]
        subprocess.run([sys.executable, "-m", "dwplus.cli", *words], cwd=tmp_path, check=True, timeout=900)

    page = (tmp_path / "data" / "sandbox" / "report" / "index.html").read_text()
    assert "<li><b>" not in page.split("Tiles that are used")[0]
    assert 'data-title="run">specsar-former-small' in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_pages_name_exist(page) -> None:
    text = page.read_text(encoding="utf-8")

    for path in re.findall(r"`((?:pipeline|model|local_ee|workflow|commands|tests|benchmarks)/[\w/]+\.py)`", text):
        assert (REPOSITORY / path).exists(), path
    for module, names in re.findall(r"^from dwplus\.([\w.]+) import ([\w, ]+)$", text, flags=re.MULTILINE):
        found = importlib.import_module(f"dwplus.{module}")
        assert all(hasattr(found, name.strip()) for name in names.split(",")), module

"""Benchmarks cannot rot: every one runs in its tiny mode, and stands in the table with the page that it supports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import REPOSITORY

FOLDER = REPOSITORY / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))
KEY_FIGURES = {
    "area_coverage.py": "omission points",
    "choices.py": "p after Holm",
    "checked_reads.py": "with checks",
    "dask_overhead.py": "ms per tile",
    "dask_stage.py": "decode only",
    "export_kills.py": "kill",
    "export_quota.py": "quota",
    "export_throughput.py": "tiles/s",
    "golden_run.py": "1 moved",
    "interval_coverage.py": "called different",
    "local_ee_scaling.py": '"ratio"',
    "local_ee_tile.py": "CPU-s",
    "map_constant.py": "px without data",
    "map_context.py": "keys and values held",
    "map_kills.py": "byte-identical",
    "map_scene.py": "of the bare network",
    "map_windows.py": "windows of 256 px",
    "missing_modalities.py": "points against",
    "network_speed.py": "speed against plain",
    "planet_difficulty.py": "Sentinel-1 adds",
    "planet_pictures.py": "planet-tiles.png",
    "planet_properties.py": "kurtosis",
    "real_imagery.py": "forest on single pixels",
    "sandbox_figures.py": "transfer: ",
    "scoring_cost.py": "bootstrapped",
    "shard_size.py": "ratio",
    "startup.py": "--help",
    "store_read.py": "x memcpy",
    "transfer.py": "Gain by --init",
}
"""What the last lines of each are about."""


def table() -> dict[str, str]:
    """File -> its row of the table in ``benchmarks/README.md``."""
    rows = re.findall(r"^\| `(\w+\.py)` \|(.*)$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_runs_in_its_tiny_mode(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / script), "--tiny"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "tiny: figures mean nothing" in done.stdout
    assert KEY_FIGURES[script] in done.stdout


def test_every_benchmark_stands_in_the_table_and_has_a_key_figure() -> None:
    assert set(table()) == set(KEY_FIGURES) == set(SCRIPTS)


def test_the_pages_that_benchmarks_support_name_them() -> None:
    for script, row in table().items():
        for page in re.findall(r"`(docs/[\w-]+\.md)`", row):
            assert f"benchmarks/{script}" in (REPOSITORY / page).read_text(encoding="utf-8"), (script, page)


def test_the_figures_that_the_table_quotes_are_in_the_pages() -> None:
    quotes = re.findall(r'`(docs/[\w-]+\.md)`: "([^"]+)"', (FOLDER / "README.md").read_text(encoding="utf-8"))
    rows = [row for row in table().values() if "`docs/" in row]

    assert len(quotes) == len(rows)
    for page, figure in quotes:
        assert figure in " ".join((REPOSITORY / page).read_text(encoding="utf-8").split()), (page, figure)


def test_every_rig_is_described() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [p.name for p in (FOLDER / "rigs").glob("*.py") if p.stem != "__init__" and f"`{p.name}`" not in page] == []


def test_every_measured_part_of_a_page_has_its_maker_and_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the pages, when their measured parts are listed, then ``sandbox_figures.py`` makes just these."""
    monkeypatch.syspath_prepend(FOLDER)
    import sandbox_figures
    from rigs import pages

    found = {
        name: path.name
        for path in (REPOSITORY / "docs").glob("*.md")
        for name in pages.names_in(path.read_text(encoding="utf-8"))
    }

    assert found == sandbox_figures.PAGES
    assert set(sandbox_figures.MAKERS) == set(sandbox_figures.NAMES)


def test_a_measured_part_is_replaced_and_what_stands_around_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from rigs import pages

    end = "<!-- end of figures -->\n"
    page = f"before\n<!-- figures: a -->\nold\n{end}between\n<!-- figures: b -->\n{end}"

    found = pages.replaced(page, "b", ["new \\1"])

    assert found == page.replace("b -->\n", "b -->\n\nnew \\1\n\n")
    assert pages.replaced(found, "b", ["new \\1"]) == found
    with pytest.raises(ValueError, match="figures: c"):
        pages.replaced(page, "c", [])

"""Imports point one way: the table of who may import whom, held against the code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module may import those of its own line and of the lines above it, never of a line below.
PIPELINE_ORDER: tuple[frozenset[str], ...] = (
    frozenset({"errors", "progress", "limiter", "pixel_loops"}),
    frozenset({"bands", "blocks", "landcover", "files", "cluster", "distances", "zarr_shards"}),
    frozenset({"places", "shift"}),
    frozenset({"tiles"}),
    frozenset({"footprints", "ledger", "shards", "manifest", "matching", "sources"}),
    frozenset({"credentials", "splits", "histograms"}),
    frozenset({"statistics"}),
    frozenset({"manifest_checks"}),
    frozenset({"downloads", "archives", "label_releases", "label_metadata", "labels", "label_graphs", "scenes"}),
    frozenset(
        {"answers", "budget", "label_assets", "look", "manifest_origin", "provenance", "service_faults", "transport"}
    ),
    frozenset({"label_sources", "label_summary", "ingest", "session"}),
    frozenset({"card", "connection", "form_rules", "plan", "status"}),
    frozenset({"pixel_rules"}),
    frozenset({"rules"}),
    frozenset({"export", "single_files", "store_view", "validate"}),
    frozenset({"waivers", "quarantine", "tile_summaries"}),
    frozenset({"audit"}),
    frozenset({"audit_stage"}),
    frozenset({"normalise"}),
    frozenset({"store", "inspection"}),
    frozenset({"dataset", "build"}),
    frozenset({"forecast"}),
)
MODEL_MAY_USE = {"bands", "landcover", "tiles", "errors", "dataset"}
NETWORKS = (
    "layers",
    "decoder",
    "strips",
    "recompute",
    "padding",
    "config",
    "specsar_former",
    "registry",
    "losses",
    "cost",
    "metrics",
    "baselines",
)


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Names that a file imports, as dotted paths from the repository root; relative imports resolved."""
    package = path.relative_to(ROOT).parent.parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" if stem else alias.name for alias in node.names} | (
                {stem} if stem else set()
            )
    return names


def uses(path: Path, name: str) -> bool:
    return any(i == name or i.startswith(f"{name}.") for i in imported(path))


def test_the_pipeline_knows_neither_torch_nor_the_model_half() -> None:
    for path in modules("pipeline"):
        assert not any(uses(path, name) for name in ("torch", "accelerate", "model", "workflow", "commands", "cli")), (
            path
        )


def test_the_model_half_knows_neither_earth_engine_nor_the_network() -> None:
    for path in modules("model"):
        assert not any(uses(path, name) for name in ("ee", "requests", "workflow", "commands", "cli")), path
        used = {i.split(".")[1] for i in imported(path) if i.startswith("pipeline.")}
        assert used <= MODEL_MAY_USE, f"{path} uses {used - MODEL_MAY_USE}"


def test_earth_engine_is_imported_where_its_graphs_are_built_and_where_it_is_asked_alone() -> None:
    users = {path.relative_to(ROOT).as_posix() for path in modules("pipeline") if uses(path, "ee")}

    assert users == {
        f"pipeline/{name}.py" for name in ("scenes", "label_graphs", "session", "connection", "service_faults")
    }


def test_one_line_starts_the_local_earth_engine_and_nobody_else_knows_it() -> None:
    outside = [p for f in ("pipeline", "model", "workflow") for p in modules(f) if "local_ee" not in p.parts]
    users = {path.relative_to(ROOT).as_posix() for path in outside if uses(path, "pipeline.local_ee")}

    assert users == {"workflow/pixel_source.py"}


def test_the_local_earth_engine_uses_the_vocabulary_only() -> None:
    allowed = {"local_ee", "errors", "bands", "landcover", "tiles", "files"}
    for path in modules("pipeline/local_ee"):
        used = {i.split(".")[1] for i in imported(path) if i.startswith("pipeline.")}
        assert used <= allowed, f"{path} uses {used - allowed}"


def test_pipeline_modules_import_upwards_only() -> None:
    level = {name: number for number, names in enumerate(PIPELINE_ORDER) for name in names}
    found = {path.stem for path in (ROOT / "pipeline").glob("*.py")} - {"__init__"}
    assert found == set(level), "every module stands in the table"
    for name in found:
        used = {i.split(".")[1] for i in imported(ROOT / "pipeline" / f"{name}.py") if i.startswith("pipeline.")}
        for other in used & set(level):
            assert level[other] <= level[name], f"{name} imports {other}"


@pytest.mark.parametrize("module", NETWORKS)
def test_networks_run_where_only_torch_and_numpy_are(module: str) -> None:
    paths = [ROOT / "model" / f"{module}.py"] if module != "baselines" else modules("model/baselines")
    heavy = ("rasterio", "affine", "pyproj", "geopandas", "dask", "distributed", "ee")
    for path in paths:
        assert not any(uses(path, name) for name in heavy), path
        assert not uses(path, "pipeline.tiles"), path


def test_commands_are_found_through_the_table_of_cli_alone() -> None:
    outside = [p for f in ("pipeline", "model", "workflow") for p in modules(f)]
    assert not [path for path in outside if uses(path, "commands")]
    for path in modules("commands"):
        assert not uses(path, "cli"), f"{path}: python -m dwplus.cli would load cli twice"


HEAVY = "{'torch', 'ee', 'rasterio', 'dask', 'numpy', 'rich', 'geopandas', 'requests'}"


def printed(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return answer.stdout.strip().splitlines()[-1]


def test_help_imports_nothing_heavy_and_no_command() -> None:
    code = (
        f"import sys; from dwplus.cli import cli; cli.main(['--help'], standalone_mode=False); "
        f"print(sorted({HEAVY} & set(sys.modules)), [m for m in sys.modules if m.startswith('dwplus.commands')])"
    )

    assert printed(code) == "[] []"


def test_the_help_of_a_command_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dwplus.cli import COMMANDS, load_command; [load_command(name) for name in COMMANDS]; "
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )

    assert printed(code) == "[]"


def test_local_data_is_read_without_the_packages_for_urls() -> None:
    code = (
        "import sys; from pathlib import Path; from dwplus.pipeline import root, shards, validate; "
        "root.pixels_of(Path('data')); print(sorted({'fsspec', 'aiohttp', 's3fs'} & set(sys.modules)))"
    )

    assert printed(code) == "[]"

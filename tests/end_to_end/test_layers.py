"""Imports point one way: the table of who may import whom, held against the code and against the documents."""

import ast
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from support.paths import REPOSITORY

PRODUCT = ("commands", "workflow", "model", "local_ee", "pipeline", "manifests")

# ``errors``, ``machine``, ``progress`` and the data of ``manifests`` may be imported everywhere.
EVERYWHERE = {"pipeline.errors", "pipeline.machine", "pipeline.progress", "manifests", "dwplus"}
MAY_IMPORT: dict[str, str] = {
    "pipeline.dask_workers": "",
    "pipeline.cluster": "dask_workers",
    "pipeline.spec": "",
    "pipeline.files": "",
    "pipeline.raster": "spec files",
    "pipeline.earthengine": "spec files",
    "pipeline.dataset": "spec files raster cluster",
    "pipeline.labels": "spec files raster dataset earthengine",
    "pipeline.validation": "spec files raster dataset cluster",
    "pipeline.own": "spec files raster dataset labels validation",
    "pipeline.statistics": "spec files raster dataset cluster",
    "pipeline.build": "all of pipeline",
    "pipeline.areas": "all of pipeline",
    "local_ee": "itself, spec, files.atomic",
    "model": "itself, spec, files, dataset",
    "workflow": "itself, pipeline, model, local_ee.launch, local_ee.planet",
    "commands": "all",
}
LOCAL_EE: dict[str, str] = {
    "scene": "",
    "refusal": "",
    "planet": "",
    "evaluator": "scene refusal",
    "catalogue": "planet scene",
    "releases": "catalogue planet scene",
    "server": "all of local_ee",
    "launch": "",
}
MODEL: dict[str, str] = {"blocks": "", "baselines": "blocks config"}
NETWORKS = ("blocks", "baselines", "config", "specsar_former", "registry", "losses", "cost", "metrics")


def modules(folder: str) -> list[Path]:
    path = REPOSITORY / folder
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def dotted(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for folder in (*PRODUCT, "cli") for path in modules(folder)}


@cache  # every rule asks of every file
def imported(path: Path) -> frozenset[str]:
    """What a file imports: modules of dwplus as dotted paths from the repository root, others by their name."""
    package = path.relative_to(REPOSITORY).parent.parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            stem = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{stem}.{alias.name}" if stem else alias.name
                names.add(whole if whole in MODULES else stem or "dwplus")
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return frozenset(names)


def uses(path: Path, name: str) -> bool:
    return any(i == name or i.startswith(f"{name}.") for i in imported(path))


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def own(path: Path) -> set[str]:
    """Modules of dwplus that a file imports, without those that everybody may import."""
    ours = {name for name in imported(path) if name in MODULES}
    return {name for name in ours if not any(inside(name, free) for free in EVERYWHERE)}


@pytest.mark.parametrize("package", [name for name in MAY_IMPORT if name.startswith("pipeline.")])
def test_the_packages_of_the_pipeline_import_what_the_table_lets_them(package: str) -> None:
    may = MAY_IMPORT[package]
    allowed = {package} | ({"pipeline"} if may == "all of pipeline" else {f"pipeline.{name}" for name in may.split()})
    for path in modules(package.replace(".", "/")):
        for name in own(path):
            assert any(inside(name, one) for one in allowed), f"{path} imports {name}"


def test_every_package_of_the_pipeline_stands_in_the_table() -> None:
    parts = {
        path.stem for path in (REPOSITORY / "pipeline").iterdir() if path.name not in ("__init__.py", "__pycache__")
    }

    everywhere = {"errors", "machine", "progress"}
    assert {f"pipeline.{name}" for name in parts - everywhere} == {n for n in MAY_IMPORT if "." in n}


@pytest.mark.parametrize("part", LOCAL_EE)
def test_the_parts_of_the_local_earth_engine_import_what_the_table_lets_them(part: str) -> None:
    may = LOCAL_EE[part]
    allowed = {"local_ee"} if may == "all of local_ee" else {f"local_ee.{name}" for name in (part, *may.split())}
    for path in modules(f"local_ee/{part}"):
        for name in own(path):
            vocabulary = inside(name, "pipeline.spec") or name == "pipeline.files.atomic"
            assert vocabulary or any(inside(name, one) for one in allowed), f"{path} imports {name}"


@pytest.mark.parametrize("part", MODEL)
def test_the_parts_of_networks_know_nothing_above_them(part: str) -> None:
    # Domains of settings know no network.
    allowed = {f"model.{name}" for name in (part, "domains", *MODEL[part].split())}
    for path in modules(f"model/{part}"):
        for name in own(path):
            assert inside(name, "pipeline.spec") or any(inside(name, one) for one in allowed), f"{path} imports {name}"


def test_the_model_half_uses_the_vocabulary_and_the_data_set() -> None:
    for path in modules("model"):
        assert not any(uses(path, name) for name in ("ee", "requests")), path
        for name in own(path):
            allowed = ("model", "pipeline.spec", "pipeline.files", "pipeline.dataset")
            assert any(inside(name, one) for one in allowed), f"{path}: {name}"


def test_workflow_and_commands_are_above_everything() -> None:
    for path in modules("workflow"):
        for name in own(path):
            assert not inside(name, "commands"), f"{path} imports {name}"
            if inside(name, "local_ee"):
                assert name in ("local_ee.launch", "local_ee.planet.planet"), f"{path} imports {name}"
    for path in modules("commands"):
        assert not uses(path, "cli"), f"{path}: python -m dwplus.cli would load cli twice"


@pytest.mark.parametrize("part", ["estimators", "allocation", "cautions"])
def test_the_formulas_of_areas_need_numpy_alone(part: str) -> None:
    for path in modules(f"workflow/area/{part}"):
        assert not any(uses(path, name) for name in ("rasterio", "pyproj", "shapely", "geopandas", "torch", "ee")), path
        for name in own(path):
            assert inside(name, "workflow.area") or name == "pipeline.spec.words", f"{path} imports {name}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    arrows = {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    # Take away modules that import nothing that is left, until none is: what stays goes round in a circle.
    while free := {name for name, used in arrows.items() if not used & set(arrows)}:
        arrows = {name: used for name, used in arrows.items() if name not in free}

    assert not arrows


def test_earth_engine_is_imported_in_one_package_alone() -> None:
    users = {path for folder in PRODUCT for path in modules(folder) if uses(path, "ee")}

    assert users
    assert {path.parent for path in users} == {REPOSITORY / "pipeline" / "earthengine"}


def test_torch_is_imported_in_the_model_half_alone_and_inside_functions_above_it() -> None:
    for folder in ("pipeline", "local_ee", "manifests"):
        for path in modules(folder):
            assert not any(uses(path, name) for name in ("torch", "accelerate")), path
    for folder in ("workflow", "commands"):
        for path in modules(folder):
            at_top = ast.parse(path.read_text("utf-8")).body
            names = {n.module for n in at_top if isinstance(n, ast.ImportFrom) and not n.level}
            names |= {alias.name for n in at_top if isinstance(n, ast.Import) for alias in n.names}
            assert not any(inside(str(name), "torch") for name in names), path


def test_one_file_starts_the_local_earth_engine_and_only_its_own_command_knows_it_too() -> None:
    outside = [path for folder in PRODUCT if folder != "local_ee" for path in modules(folder)]
    users = {path.relative_to(REPOSITORY).as_posix() for path in outside if uses(path, "local_ee")}

    assert users == {"workflow/source.py", "commands/local_ee.py"}


@pytest.mark.parametrize("part", NETWORKS)
def test_networks_run_where_only_torch_and_numpy_are(part: str) -> None:
    heavy = ("rasterio", "affine", "pyproj", "geopandas", "dask", "distributed", "ee")
    for path in modules(f"model/{part}"):
        assert not any(uses(path, name) for name in heavy), path
        assert not uses(path, "pipeline.spec.tiles"), path


def table_of_the_documents() -> str:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    return text.split("<!-- imports -->\n")[1].split("<!-- end of imports -->")[0]


def test_the_table_in_the_documents_is_the_one_that_is_tested() -> None:
    lines = [f"    {name:<22}<- {may or '-'}" for name, may in MAY_IMPORT.items()]
    lines += [f"    {'local_ee.' + name:<22}<- {may or '-'}" for name, may in LOCAL_EE.items()]
    lines += [f"    {'model.' + name:<22}<- {may or '-'}" for name, may in MODEL.items()]

    assert table_of_the_documents().strip("\n").splitlines() == lines


def test_every_package_is_installed_and_says_what_it_is() -> None:
    folders = {path.parent for folder in PRODUCT for path in modules(folder) if path.parent.name != "__pycache__"}
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    names = {".".join(("dwplus", *folder.relative_to(REPOSITORY).parts)) for folder in folders}

    assert set(settings["tool"]["setuptools"]["packages"]) == {"dwplus", *names}
    for folder in folders:
        page = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert page, folder
        others = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
        if folder.name not in ("commands", "baselines", "manifests"):
            assert [name for name in others if f"``{name}``" not in page] == [], folder


def test_no_file_of_the_code_is_ignored_by_git() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a checkout")
    paths = [str(p) for f in (*PRODUCT, "tests", "benchmarks") for p in modules(f) if "__pycache__" not in p.parts]

    # A pattern such as "build/" meant for the root hides a package of that name: it is missing in every clone.
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        input="\n".join(paths), cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.stdout == ""


def test_no_test_imports_a_test() -> None:
    for path in (REPOSITORY / "tests").rglob("*.py"):
        others = {name.split(".")[-1] for name in imported(path) if not name.startswith("dwplus")}
        assert not [name for name in others if name.startswith("test_")], path


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


@pytest.mark.parametrize("module", ["build.status", "build.plan", "build.budget", "build.card", "dataset.samples"])
def test_records_are_read_without_earth_engine(module: str) -> None:
    code = f"import sys; import dwplus.pipeline.{module}; print('ee' in sys.modules)"

    assert printed(code) == "False"


def test_networks_are_loaded_and_scored_without_the_compiler_of_torch() -> None:
    """It takes seconds to load."""
    code = "import sys; import dwplus.workflow.scoring, dwplus.model.score; print('torch._dynamo' in sys.modules)"

    assert printed(code) == "False"


def test_samples_are_read_without_the_code_that_made_them() -> None:
    code = (
        "import sys; import dwplus.pipeline.dataset.samples; "
        "print(sorted({m.split('.')[2] for m in sys.modules if m.startswith('dwplus.pipeline.')}))"
    )

    assert printed(code) == "['cluster', 'dask_workers', 'dataset', 'errors', 'files', 'machine', 'raster', 'spec']"


def test_local_data_is_read_without_the_packages_for_urls() -> None:
    code = (
        "import sys; from dwplus.pipeline.dataset.root import DataRoot; "
        "from dwplus.pipeline.validation import validate; "
        "DataRoot.at('data'); print(sorted({'fsspec', 'aiohttp', 's3fs'} & set(sys.modules)))"
    )

    assert printed(code) == "[]"


def test_every_file_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    # Given that pytest passes over folders of some names, "build" among them unless it is told otherwise
    skipped = pytestconfig.getini("norecursedirs")
    folders = {part for path in (REPOSITORY / "tests").rglob("test_*.py") for part in path.parts[:-1]}

    assert not [name for name in folders for pattern in skipped if fnmatch(name, pattern) and name not in ("/", ".")]

"""GDAL and PROJ: what the shell sets never changes a pixel, and a broken library is no fault of the data."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import MachineError
from dwplus.pipeline.raster.gdal import check_machine
from support.fixture_types import LayOut
from support.tiles import make_tile


def run(*arguments: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line in a shell with more variables, after more Python."""
    program = f"import sys\n{before}\nfrom dwplus.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=4, test=2)


DATABASES = ("no database", "another database", "junk")
COMMANDS = (("validate", "--workers", "1"), ("normalise", "--workers", "1"), ("labels", "index", "--labels", "LABELS"))
VARIABLES = ("PROJ_LIB", "PROJ_DATA")


@pytest.fixture
def other_proj(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What PostGIS, QGIS or conda may leave in PROJ_LIB."""
    folder = tmp_path / "proj"
    folder.mkdir()
    if request.param == "junk":
        (folder / "proj.db").write_bytes(b"junk")
    if request.param == "another database":
        import sqlite3

        with sqlite3.connect(folder / "proj.db") as database:
            database.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
            database.execute("INSERT INTO metadata VALUES ('DATABASE.LAYOUT.VERSION.MAJOR', '1')")
            database.execute("INSERT INTO metadata VALUES ('DATABASE.LAYOUT.VERSION.MINOR', '0')")
    return folder


@pytest.mark.parametrize(
    ("other_proj", "command", "variable"),
    [
        # Each command, each thing that it finds and each variable by which it finds it is in a quick one.
        pytest.param(
            database, command, variable,
            id=f"{variable}-{command[0]}-{database}", marks=() if i == j and k == i % 2 else pytest.mark.slow,
        )
        for i, database in enumerate(DATABASES)
        for j, command in enumerate(COMMANDS)
        for k, variable in enumerate(VARIABLES)
    ],
    indirect=["other_proj"],
)  # fmt: skip
def test_another_installations_proj_is_one_line_and_nothing_is_written(
    root: DataRoot, other_proj: Path, command: tuple[str, ...], variable: str, tmp_path: Path
) -> None:
    before = contents(root.folder)
    arguments = [str(tmp_path / "given") if one == "LABELS" else one for one in command]
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "dw_9.0_45.0-20190701.tif").write_bytes(root.own_label(root.manifest().rows[0]).read_bytes())

    ended = run(*arguments, "--data", str(root.folder.parent), "--source", "sandbox", **{variable: str(other_proj)})

    assert ended.returncode == 1, ended.stderr
    assert f"{variable}={other_proj}: run 'unset {variable}'" in ended.stderr
    assert "Traceback" not in ended.stderr
    changed = {name for name, digest in contents(root.folder).items() if before.get(name) != digest}
    assert changed <= {"ledger.jsonl"}
    assert contents(root.folder)["ledger.jsonl"] == before["ledger.jsonl"]


@pytest.mark.parametrize("variables", [{"GTIFF_IGNORE_READ_ERRORS": "YES"}, {"CPL_DEBUG": "ON"}, {}])
def test_a_label_that_is_cut_off_is_refused_whatever_the_shell_says(tmp_path: Path, variables: dict[str, str]) -> None:
    path = tmp_path / "dw_9.0_45.0-20190701.tif"
    tile = make_tile(size=510)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=510, width=510, crs=tile.crs, transform=tile.affine
    ) as file:
        file.write(np.full((1, 510, 510), 3, np.uint8))
    path.write_bytes(path.read_bytes()[:200_000])

    ended = run("validate", str(path), "--as", "label", **variables)

    assert ended.returncode == 3
    assert "cut off or damaged" in ended.stdout


WRITTEN_AND_READ = """
import hashlib, sys
from pathlib import Path
import numpy as np
from dwplus.pipeline.raster.geotiff import encode_label, encode_shard, read_header
from dwplus.pipeline.raster.label_raster import read_label
from support.tiles import make_tile
tile, folder = make_tile(size=510), Path(sys.argv[1])
shard, label = folder / "shard.tif", folder / "label.tif"
shard.write_bytes(encode_shard(np.full((14, 510, 510), 7, dtype=np.uint16), tile, {}))
label.write_bytes(encode_label(np.full((510, 510), 3, np.uint8), tile, {}))
for path in (shard, label):
    print(hashlib.sha256(path.read_bytes()).hexdigest())
print(read_header(shard), read_label(label).crs)
"""
"""A process of its own: what GDAL learns of the variables stays in a process."""


def test_what_is_written_and_read_is_the_same_whatever_the_shell_says(tmp_path: Path) -> None:
    def written_and_read(folder: str, variables: dict[str, str]) -> str:
        (tmp_path / folder).mkdir()
        environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join([*sys.path])}
        command = [sys.executable, "-c", WRITTEN_AND_READ, str(tmp_path / folder)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    said = {"GTIFF_DONT_WRITE_BLOCKS": "YES", "GTIFF_FORCE_RGBA": "YES", "GTIFF_POINT_GEO_IGNORE": "YES"}
    said |= {"TIFF_READ_STREAMING": "YES"}
    before = written_and_read("before", {})

    assert before.count("\n") == 3
    assert written_and_read("after", {**said, "OSR_WKT_FORMAT": "WKT1_ESRI"}) == before
    assert written_and_read("again", {**said, "OSR_WKT_FORMAT": "YES"}) == before


def test_a_world_file_beside_a_label_moves_nothing(tmp_path: Path) -> None:
    tile = make_tile(size=510)
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=510, width=510, crs=tile.crs, transform=tile.affine
    ) as file:
        file.write(np.full((1, 510, 510), 3, np.uint8))
    (tmp_path / "a.tfw").write_text("20\n0\n0\n-20\n0\n0\n")
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>3</NoDataValue></PAMRasterBand></PAMDataset>'
    )

    ended = run("validate", str(path), "--as", "label", GDAL_GEOREF_SOURCES="WORLDFILE,INTERNAL")

    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    "other_proj",
    # Which databases do not work is tested above, and for one of them that the doctor says so.
    [pytest.param(one, marks=pytest.mark.slow if one != "another database" else ()) for one in DATABASES],
    indirect=True,
)
def test_the_doctor_names_another_installations_proj(other_proj: Path, tmp_path: Path) -> None:
    # Without torch, which takes seconds to load.
    ended = run("doctor", "--data", str(tmp_path), before="sys.modules['torch'] = None", PROJ_LIB=str(other_proj))

    assert ended.returncode != 0
    assert "PROJ_LIB" in ended.stdout + ended.stderr


def test_a_proj_of_pyproj_that_does_not_work_is_no_fault_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    # rasterio and pyproj bring a PROJ each: one may work where the other does not.
    def fail(*_: object, **__: object) -> None:
        raise pyproj.exceptions.ProjError("no database context specified")

    monkeypatch.setattr(pyproj.Transformer, "from_crs", fail)

    with pytest.raises(MachineError, match="no database context specified"):
        check_machine()


def test_an_error_for_want_of_memory_is_no_damage(tmp_path: Path) -> None:
    # Given a process that can have 100 MB more: numpy gets its 64 MB for the picture, GDAL no more of them.
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=8192, width=8192, compress="zstd", blockysize=8192
    ) as file:
        file.write(np.zeros((1, 8192, 8192), np.uint8))
    program = """
import re, resource, sys
from pathlib import Path
from dwplus.pipeline.errors import MachineError
from dwplus.pipeline.raster.gdal import check_libraries
from dwplus.pipeline.validation.file_view import open_fully
check_libraries()
open_fully(Path(sys.argv[2]))
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
try:
    print(open_fully(Path(sys.argv[1])).fault)
except MachineError as error:
    print(type(error).__name__)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path / "nothing.tif")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ended.stdout.strip() == "MachineError", ended.stdout + ended.stderr

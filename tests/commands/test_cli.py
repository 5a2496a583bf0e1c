"""The command line: help, exit codes, one line that says what to do, nothing left half done."""

import json
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
from dwplus import cli
from dwplus.pipeline.earthengine import connection
from dwplus.pipeline.earthengine.session import RequestRetries
from dwplus.pipeline.errors import MachineError
from dwplus.pipeline.raster.geotiff import write_label
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.fixture_types import LayOut, Run
from support.paths import REPOSITORY
from support.tiles import make_tile


@pytest.fixture
def run(dwplus_unconfigured: Run) -> Run:
    return dwplus_unconfigured


def commands(group: click.Group, *above: str) -> Iterator[list[str]]:
    """A group, its commands and theirs, each as the words that call it."""
    yield [*above]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from commands(command, *above, name) if isinstance(command, click.Group) else [[*above, name]]


@pytest.mark.parametrize("command", list(commands(cli.cli)), ids=lambda c: " ".join(c) or "dwplus")
def test_every_command_explains_itself_with_an_example(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")

    assert code == 0
    assert f"dwplus {' '.join(command)}".strip() in out.split("Options:")[0].split("\n", 1)[1]


def test_the_shell_completes_commands_and_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_DWPLUS_COMPLETE", "bash_complete")

    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
        return [item.partition(",")[2] for item in run()[1].split()]

    assert completed("dwplus re") == ["retry", "review", "report", "reproduce"]
    assert completed("dwplus build --reg") == ["--region"]
    assert completed("dwplus local-ee s") == ["serve"]


def test_a_misspelt_command_gets_the_likely_one(run: Run) -> None:
    code, _, err = run("buidl")

    assert (code, "build" in err.splitlines()[-1]) == (2, True)


BAD_INPUT = {
    "unknown region": (["build", "--region", "europe"], 2, "unknown region 'europe'; choose one of all, western-hemi"),
    "unknown option": (["build", "--regoin", "all"], 2, "No such option"),
    "missing label folder": (["build", "--labels", "nowhere"], 2, "--labels nowhere: no such folder"),
    "project without login": (["build", "--project", "p"], 4, "needs credentials: project 'p' is set"),
    "server without project": (["build", "--ee-url", "http://127.0.0.1:9"], 4, "needs a project"),
    "no data set": (["train"], 1, "data holds no data set; run 'dwplus build' first"),
    "no data set of that name": (["validate", "--source", "earthengine"], 1, "run 'dwplus build --source earthengine'"),
    "no config": (["--config", "x.toml", "train"], 2, "cannot read x.toml"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_gets_one_line_and_its_exit_code(
    run: Run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    got, out, err = run(*arguments)

    assert got == code
    assert message in err
    assert out == ""
    if code != 2:
        assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.tif"))
    assert not (tmp_path / "data").exists()


def test_credentials_without_a_project_stop_before_anything_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("key.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "key.json")

    code, _, err = run("build")

    assert (code, "no project; pass --project" in err) == (4, True)


def test_an_unreachable_server_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given attempts that follow each other at once.
    monkeypatch.setattr(connection, "RequestRetries", partial(RequestRetries, first_wait_s=0.01))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

    code, _, err = run("build", "--ee-url", url, "--project", "p")

    assert code == 1
    assert f"cannot reach Earth Engine at {url}" in err
    assert not Path("data").exists()


def test_a_data_folder_that_cannot_be_written_is_named(run: Run) -> None:
    Path("data").write_text("a file where a folder is needed")

    code, _, err = run("build", "--source", "sandbox", "--data", "data/x")

    assert code == 1
    assert "cannot write in data/x/sandbox" in err
    assert "--data" in err


@pytest.mark.parametrize(("size", "crs"), [(500, "EPSG:32632"), (510, "EPSG:4326")])
def test_a_label_of_another_size_or_crs_is_named_and_nothing_is_built(run: Run, size: int, crs: str) -> None:
    import numpy as np

    tile = make_tile("dw_9.0_45.0-20190701", size=size, crs=crs, x=500000.0 if crs != "EPSG:4326" else 9.0)
    write_label(
        Path("labels/dw_9.0_45.0-20190701.tif"), np.full((size, size), DYNAMIC_WORLD.ignored_code, np.uint8), tile, {}
    )

    code, _, err = run("build", "--labels", "labels", "--source", "sandbox", "--workers", "1", "-q")

    assert code == 1
    assert "dw_9.0_45.0-20190701.tif" in err.strip().splitlines()[-1]
    assert not list(Path("data").rglob("*.tif"))


def test_several_data_sets_need_a_name(run: Run, data_root: LayOut) -> None:
    root = data_root(train=1, test=1)
    shutil.copytree(root.folder, root.folder.parent / "earthengine")

    code, _, err = run("report", "--data", str(root.folder.parent))

    assert code == 2
    assert "holds several data sets (earthengine, sandbox); name one with --source" in err


def test_validate_lists_findings_and_tells_by_its_exit_code(run: Run, data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    assert run("validate", "--data", str(root.folder.parent), "--workers", "1", "-q")[0] == 0
    next((root.folder / "shards").rglob("*.tif")).write_bytes(b"half")

    code, out, _ = run("validate", "--data", str(root.folder.parent), "--workers", "1", "-q", "--json")

    assert code == 3
    assert {f["rule"] for f in json.loads(out)["findings"] if f["severity"] == "error"} == {"readable"}


def test_validate_says_that_a_folder_cannot_be_written_before_it_reads(
    run: Run, data_root: LayOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise MachineError(f"cannot write in {folder}: Read-only file system")

    def read(*_: object, **__: object) -> None:
        pytest.fail("shards are read, and findings could not be kept")

    root = data_root()
    monkeypatch.setattr("dwplus.pipeline.files.atomic.check_writable", refuse)
    monkeypatch.setattr("dwplus.pipeline.build.build.validate_root", read)

    code, _, err = run("validate", "--data", str(root.folder.parent), "-q")

    assert (code, err.strip()) == (1, f"dwplus: cannot write in {root}: Read-only file system")


def test_validate_judges_single_files(run: Run, data_root: LayOut, tmp_path: Path) -> None:
    # Given a folder with a label of 8 x 8 px and an empty file.
    root = data_root(train=1, test=1)
    folder = tmp_path / "files"
    folder.mkdir()
    label = next((root.folder / "labels").rglob("*.tif"))
    shutil.copy(label, folder)
    (folder / "empty.tif").touch()

    # On its own grid the label is accepted; without one it is no tile.
    assert run("validate", str(label), "--like", str(label))[0] == 0
    code, out, _ = run("validate", str(folder), "--as", "label", "--like", str(label))
    assert code == 3
    assert "is empty (0 bytes)" in out
    assert "2 files: 1 accepted, 1 refused" in out
    code, out, _ = run("validate", str(label), "--json")
    (file,) = json.loads(out)["files"]
    assert (code, file["verdict"], file["as"], file["guessed_from"]) == (3, "refuse", "label", "a band named lulc")
    assert file["findings"][0]["what_to_do"].startswith("use the tile as released")
    code, _, err = run("validate", "--as", "s2")
    assert (code, "name them" in err) == (2, True)


def test_a_config_file_sets_options_and_unknown_keys_are_refused(run: Run, data_root: LayOut) -> None:
    root = data_root(train=1, test=1)
    Path("ok.toml").write_text(f'[validate]\ndata = "{root.folder.parent}"\nworkers = 1\nquiet = true\n')
    Path("bad.toml").write_text('[validate]\ndatta = "x"\n')

    Path("several.toml").write_text('[build]\nbiome = 4\njson = true\nregion = "mars"\n')

    assert run("--config", "ok.toml", "validate")[0] == 0
    code, _, err = run("--config", "several.toml", "build")
    assert (code, "unknown region 'mars'" in err) == (2, True)
    code, _, err = run("--config", "bad.toml", "validate")
    assert (code, "[validate] has no option datta" in err) == (2, True)


def test_a_config_file_imports_the_commands_that_it_names_alone(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[validate]\nworkers = 1\n")
    code = (
        "import sys; from pathlib import Path; from dwplus import cli; cli._read_config(Path(sys.argv[1]));"
        "print(sorted(m.rsplit('.')[-1] for m in sys.modules if m.startswith('dwplus.commands.')))"
    )

    command = [sys.executable, "-c", code, str(tmp_path / "x.toml")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "'validate'" in answer.stdout
    assert "'build'" not in answer.stdout
    assert "'train'" not in answer.stdout


def test_a_run_that_does_not_exist_is_named_with_those_that_do(run: Run, ready_root: LayOut) -> None:
    root = ready_root(train=2, test=1)

    code, _, err = run("score", "runs/x", "--data", str(root.folder.parent))

    assert code == 1
    assert "no run 'runs/x'" in err
    assert "run 'dwplus train'" in err


def test_the_page_about_signing_in_asks_nobody(run: Run) -> None:
    code, out, _ = run("auth")

    assert code == 0
    assert "no login and no key" in out
    assert "earthengine authenticate" in out
    assert "dwplus auth check" in out


def test_the_check_of_the_sign_in_ends_with_4_and_says_what_to_do(run: Run) -> None:
    code, out, _ = run("auth", "check", "--project", "p")

    assert code == 4
    assert "needs credentials" in out
    assert "-> run 'dwplus auth'" in out


def test_the_doctor_looks_at_the_sandbox_and_leaves_nothing_behind(run: Run) -> None:
    code, out, _ = run("doctor", "--source", "sandbox", "--json")

    answer = json.loads(out)
    assert (code, answer["exit_code"]) == (0, 0)
    assert {"Versions", "Data folder", "This machine", "Source", "Sign-in", "Service", "Quota"} == {
        row["topic"] for row in answer["checks"]
    }
    assert not Path("data").exists()


def test_a_disk_that_forbids_writing_is_named(run: Run, tmp_path: Path) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the same error is met above with a file in the way")
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(stat.S_IRUSR | stat.S_IXUSR)

    code, _, err = run("build", "--source", "sandbox")

    assert (code, "cannot write in data/sandbox" in err) == (1, True)


def test_every_file_of_commands_is_in_the_table() -> None:
    helpers = {"__init__", "options", "output", "own_labels", "label_subsets", "beside", "products", "score_tables"}
    helpers |= {"predict_area"}
    files = {path.stem for path in (REPOSITORY / "commands").glob("*.py")} - helpers

    assert {place.partition(":")[0] for place, _ in cli.COMMANDS.values()} == files

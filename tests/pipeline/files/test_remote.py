"""Data that lies at a URL is read as if it were here; what fails is asked for again, what is missing is a finding."""

import json
import multiprocessing
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.pipeline.build.build import BuildSetup, Selection, build, normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import MIRROR_FILE, DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import AuthenticationError, DataError, ServiceError, UsageError
from dwplus.pipeline.files.remote import Remote, is_this_machine, shown_url, without_secrets
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import read_content
from support.file_server import CUT, FileServer, serving
from support.fixture_types import LayOut, Run

SOON = (0.01, 0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "data").mkdir(exist_ok=True)
    with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def file(server: FileServer, tmp_path: Path) -> Remote:
    (tmp_path / "data" / "a.bin").write_bytes(b"0123456789")
    return Remote(server.url, waits_s=SOON) / "a.bin"


def test_a_file_at_a_url_is_read_by_one_request(file: Remote, server: FileServer) -> None:
    assert (file.read_bytes(), file.name, server.asked["a.bin"]) == (b"0123456789", "a.bin", 1)


@pytest.mark.parametrize("fault", [500, 503, 429, CUT])
def test_a_server_that_fails_for_a_while_is_asked_again(file: Remote, server: FileServer, fault: int) -> None:
    server.faults["a.bin"] = [fault, fault]

    assert file.read_bytes() == b"0123456789"
    assert server.asked["a.bin"] == 3


def test_a_server_that_keeps_failing_ends_the_run_and_is_not_the_fault_of_a_tile(
    file: Remote, server: FileServer
) -> None:
    server.faults["a.bin"] = [503] * 9

    with pytest.raises(
        ServiceError, match=r"cannot read http://127\.0\.0\.1.*a\.bin: .*503.*, 3 times; run the command"
    ):
        read_content(file)


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]

    with pytest.raises(ServiceError, match="Connect"):
        Remote(f"http://127.0.0.1:{port}/a", waits_s=SOON).read_bytes()


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (403, AuthenticationError), (400, ServiceError)]
)
def test_a_refusal_is_not_asked_again(file: Remote, server: FileServer, status: int, kind: type[Exception]) -> None:
    server.faults["a.bin"] = [status]

    with pytest.raises(kind):
        file.read_bytes()
    assert server.asked["a.bin"] == 1


def test_a_missing_file_is_told_at_once(server: FileServer) -> None:
    with pytest.raises(DataError, match=r"nothing\.tif does not exist"):
        read_content(Remote(server.url, waits_s=SOON) / "nothing.tif")
    assert server.asked["nothing.tif"] == 1


def test_urls_of_no_known_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="Protocol not known: nowhere"):
        Remote("nowhere://a/b").read_bytes()


def test_a_missing_package_is_named() -> None:
    # Azure's is in no extra of dwplus.
    with pytest.raises(UsageError, match=r"reading abfs:// needs, on every machine that reads, its package: .*adlfs"):
        Remote("abfs://container/a").read_bytes()


def test_the_packages_of_the_extra_are_named_by_it(file: Remote) -> None:
    code = (
        "import sys; sys.modules['aiohttp'] = None; from dwplus.pipeline.files.remote import Remote\n"
        f"try: Remote({file.url!r}).read_bytes()\nexcept Exception as error: print(type(error).__name__, error)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "UsageError reading http:// needs, on every machine that reads, aiohttp: pip install 'dwplus[cloud]'" in said


def test_the_files_of_a_bucket_are_read(
    file: Remote, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    (tmp_path / "data" / "bucket" / "set").mkdir(parents=True)
    shutil.copy(tmp_path / "data" / "a.bin", tmp_path / "data" / "bucket" / "set")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True, "endpoint_url": server.url})

    place = Remote("s3://bucket/set", waits_s=SOON)

    assert (place / "a.bin").read_bytes() == b"0123456789"
    with pytest.raises(FileNotFoundError):
        (place / "b.bin").read_bytes()


def in_a_fork(read: Callable[[], bytes], answers: "multiprocessing.Queue[bytes]") -> None:
    answers.put(read())


def test_loaders_that_fork_read_on(file: Remote) -> None:
    file.read_bytes()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    process = context.Process(target=in_a_fork, args=(file.read_bytes, answers))
    process.start()

    assert answers.get(timeout=20) == b"0123456789"
    process.join()


# --- data roots -------------------------------------------------------------------------------------------------------


def stages(root: DataRoot) -> tuple[str, dict[str, bytes]]:
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    results = {p.name: p.read_bytes() for p in root.folder.iterdir() if p.name.startswith(("findings", "stats"))}
    return results["findings.csv"].decode(), results


def test_stages_over_a_url_give_the_same_bytes_as_on_the_disk(
    data_root: LayOut, server: FileServer, tmp_path: Path
) -> None:
    origin = data_root()
    rows = origin.manifest().rows
    origin.shard(rows[0].tile).unlink()
    whole = origin.shard(rows[1].tile).read_bytes()
    origin.shard(rows[1].tile).write_bytes(whole.replace(b"\x28\xb5\x2f\xfd", b"not Zstandard"[:4]))
    (origin.folder / rows[2].label).write_bytes(b"no raster")
    root = DataRoot.mirror(f"{server.url}/sandbox/", tmp_path / "here", waits_s=SOON)

    findings, over_url = stages(root)

    found = dict(line.split(",")[:2] for line in findings.splitlines()[1:])
    assert found == {
        rows[0].tile.id: "readable", rows[1].tile.id: "readable", rows[2].tile.id: "label-readable",
    }  # fmt: skip
    assert server.url not in findings
    assert "vsimem" not in findings
    assert over_url.keys() == {"findings.json", "findings.csv", "stats-strict.json", "stats-paper.json"}
    assert over_url == stages(origin)[1]
    assert not (root.folder / "shards").exists()


def test_training_reads_its_samples_from_a_url(data_root: LayOut, server: FileServer, tmp_path: Path) -> None:
    origin = data_root()
    stages(origin)
    root = DataRoot.mirror(f"{server.url}/sandbox", tmp_path / "here")

    there, here = Dataset(root, split="train"), Dataset(origin, split="train")

    np.testing.assert_array_equal(there[1].primary, here[1].primary)
    np.testing.assert_array_equal(there[1].label, here[1].label)
    assert there.tiles_hash == here.tiles_hash


def test_a_mirror_follows_its_origin_and_keeps_its_own_results(
    data_root: LayOut, server: FileServer, tmp_path: Path
) -> None:
    origin = data_root()
    root = DataRoot.mirror(f"{server.url}/sandbox", tmp_path / "here")
    assert not (root.folder / "findings.json").exists()
    (root.folder / "findings.json").write_text("own")
    (origin.folder / "findings.json").write_text("of the origin")
    with (origin.folder / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"tile": "x", "state": "failed", "reason": "refused"}\n')

    DataRoot.mirror(f"{server.url}/sandbox", root.folder)

    assert (root.folder / "ledger.jsonl").read_bytes() == (origin.folder / "ledger.jsonl").read_bytes()
    assert (root.folder / "findings.json").read_text() == "own"


def test_a_mirror_mixes_with_nothing(data_root: LayOut, server: FileServer, tmp_path: Path) -> None:
    origin = data_root()
    root = DataRoot.mirror(f"{server.url}/sandbox", tmp_path / "here")

    with pytest.raises(UsageError, match=r"belongs to http://.*/sandbox, not to http://other/sandbox"):
        DataRoot.mirror("http://other/sandbox", root.folder)
    with pytest.raises(UsageError, match="holds something else"):
        DataRoot.mirror(f"{server.url}/sandbox", origin.folder)
    with pytest.raises(DataError, match=r"holds no data set: no manifest\.parquet"):
        DataRoot.mirror(f"{server.url}/nothing", tmp_path / "nothing", waits_s=SOON)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(UsageError, match="building writes to local disks only"):
        build(root, Selection(), BuildSetup(None, in_process))


def test_a_root_without_origin_holds_its_own_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert DataRoot.at("data").pixels == tmp_path / "data"
    (tmp_path / MIRROR_FILE).write_text(json.dumps({"url": "a folder"}))
    with pytest.raises(DataError, match="names no URL"):
        DataRoot.at(tmp_path)


def test_a_worker_that_does_not_see_the_data_says_so_before_it_calls_tiles_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{socket.gethostname()} does not see {tmp_path}"):
        DataRoot.at(tmp_path).check_in_sight()


def test_commands_take_a_url_and_leave_results_here(
    data_root: LayOut, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = data_root()
    origin.shard(origin.manifest().rows[0].tile).unlink()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    url = f"{server.url}/sandbox"

    checked = CliRunner().invoke(cli, ["validate", "--data", url, "--quiet"])
    taken = CliRunner().invoke(cli, ["normalise", "--data", url, "--quiet"])
    refused = CliRunner().invoke(cli, ["train", "--data", url])

    assert (checked.exit_code, taken.exit_code, refused.exit_code) == (3, 0, 2), (checked.output, taken.output)
    assert "1 tile with errors" in checked.output
    assert (tmp_path / "work" / "sandbox" / "stats-paper.json").is_file()
    assert f"dwplus validate --data {url} --out DIR" in " ".join(refused.output.split())
    assert not list(Path.cwd().glob("http*"))


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://127.8.8.8", True),
        ("https://localhost/x", True),
        ("http://[::1]:9/", True),
        ("https://127.0.0.1.example.org/", False),
        ("https://example.org//localhost", False),
        ("s3://bucket/data", False),
    ],
)
def test_this_machine_is_known_by_its_address(url: str, own: bool) -> None:
    assert is_this_machine(url) == own


SECRET = "https://user:hunter2@store.example/c/data?sv=2024&sig=s3cret#part"


def test_a_url_is_shown_without_what_may_be_a_secret() -> None:
    place = Remote(SECRET) / "ledger.jsonl"

    assert str(place) == "https://store.example/c/data/ledger.jsonl"
    for text in (str(place), repr(place), f"{place}", shown_url(SECRET), without_secrets(f"cannot get {SECRET}: 403")):
        assert not {"hunter2", "s3cret"} & set(re.split(r"\W+", text)), text


@pytest.mark.parametrize("address", ["user:hunter2@store.example/c?sig=s3cret", "hunter2@store.example/c#s3cret"])
def test_an_address_without_its_scheme_is_shown_without_what_may_be_a_secret(address: str) -> None:
    assert shown_url(address) == "store.example/c"


@pytest.mark.parametrize(
    "command",
    [
        ["status", "--data", SECRET],
        ["train", "--data", SECRET],
        ["validate", "--data", SECRET],
        ["build", "--source", "earthengine", "--ee-url", "user:hunter2@127.0.0.1:9", "--project", "p"],
        ["build", "--source", "earthengine", "--ee-url", "http://user:hunter2@127.0.0.1:9/?k=s3cret", "--project", "p"],
        ["normalise", "--scheduler", "tcp://user:hunter2@127.0.0.1:9"],
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_no_command_repeats_a_secret_that_stands_in_an_address(
    dwplus: Run, data_root: LayOut, command: list[str]
) -> None:
    root = data_root(train=1, test=1)
    if "--data" not in command:
        command = [*command, "--data", str(root.folder)]

    code, out, err = dwplus(*command)

    assert code != 0
    assert "hunter2" not in out + err
    assert "s3cret" not in out + err


def test_a_shared_access_signature_goes_with_every_file_below() -> None:
    place = Remote("https://store.example/c/data?sv=2024&sig=s3cret") / "shards/EH/4/a.tif"

    assert place.url == "https://store.example/c/data/shards/EH/4/a.tif?sv=2024&sig=s3cret"
    assert place.name == "a.tif"
    assert (Remote("s3://bucket/odd?name") / "a.tif").url == "s3://bucket/odd?name/a.tif"


def test_a_mirror_never_stores_the_secret_and_reads_with_it(
    data_root: LayOut, tmp_path: Path, server: FileServer
) -> None:
    root = data_root(train=2, test=1)
    shutil.copytree(root.folder, tmp_path / "data" / "set", dirs_exist_ok=True)
    url = server.url.replace("http://", "http://user:hunter2@") + "/set?sig=s3cret"

    mirrored = DataRoot.mirror(url, tmp_path / "here", waits_s=SOON)

    assert read_content(mirrored.shard(root.manifest().rows[0].tile))
    for path in (tmp_path / "here").rglob("*"):
        assert not path.is_file() or not {b"hunter2", b"s3cret"} & set(re.split(rb"\W+", path.read_bytes()))
    # The same data set under another signature is the same.
    DataRoot.mirror(url.replace("s3cret", "renewed"), tmp_path / "here", waits_s=SOON)


def test_waivers_of_a_data_set_at_a_url_hold_here_too(data_root: LayOut, tmp_path: Path, server: FileServer) -> None:
    root = data_root(train=2, test=1)
    root.waivers_file.write_text('[[waiver]]\nrule = "unmarked"\ntile = "dw_*"\nreason = "looked at"\n')
    shutil.copytree(root.folder, tmp_path / "data" / "set", dirs_exist_ok=True)

    mirrored = DataRoot.mirror(f"{server.url}/set", tmp_path / "here", waits_s=SOON)

    assert mirrored.waivers() == root.waivers() != ()


@pytest.mark.parametrize("text", ["null", "[]", '{"url": 5}', '{"url": "no url"}', "[" * 99_999])
def test_a_mirror_record_of_another_shape_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / MIRROR_FILE).write_text(text)

    with pytest.raises(DataError, match=r"origin\.json.*name the URL again with --data"):
        DataRoot.at(tmp_path)

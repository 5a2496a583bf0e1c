"""A run's folder: names, locks, checksums, and weights that are numbers."""

import errno
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from dwplus.model import run_files
from dwplus.model.config import to_mapping
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig, run_name
from dwplus.model.run_files import write_whole
from dwplus.model.runs import RunFolder, check_numbers
from dwplus.model.score import load
from dwplus.pipeline.errors import DataError, DwplusError, MachineError, UsageError
from support.flips import answers_after_flips

CARD = DataCard(("B2",), ("VV",), "strict", "SANDBOX", "abc", 3, (1,) * 9, {"B2": (0.1, 0.1), "VV": (-12.0, 3.0)})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A complete run with a checkpoint and scores, without training."""
    config = configure("specsar-former-small", 1, 1)
    state = spec("specsar-former-small").network(config).state_dict()
    folder = RunFolder(tmp_path / "run")
    folder.write_config(RunConfig("0.1.0", "specsar-former-small", to_mapping(config), {"epochs": 1}, CARD))
    folder.write_rows([{"epoch": 1, "loss": 0.5}])
    folder.write_checkpoint(1, {"rows": [{"epoch": 1}], "network": state, "optimisers": [{}]})
    folder.write_weights("model.safetensors", state)
    folder.write_json("scores.json", {"miou": 0.5})
    return folder


@pytest.mark.parametrize(
    "name", ["../../evil", "a/b", "/tmp/x", "", ".hidden", "-x", "$x$", "x" * 101, "a b", "ä", "a\n"]
)
def test_what_is_no_name_of_a_run_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a run: write 1 to 100 letters"):
        run_name(name)


@pytest.mark.parametrize("name", ["specsar-former", "a.b_c-1", "_x", "7", "x" * 100])
def test_a_plain_name_is_taken(name: str) -> None:
    assert run_name(name) == name


READ = {
    "config.json": lambda folder: folder.read_config(),
    "metrics.jsonl": lambda folder: folder.read_rows(),
    "scores.json": lambda folder: folder.read_json("scores.json"),
    "model.safetensors": lambda folder: folder.read_weights(),
    "checkpoints/epoch-00001.pt": lambda folder: folder.read_checkpoint(),
}


@pytest.mark.parametrize("name", READ)
def test_no_flipped_byte_of_a_run_is_believed(folder: RunFolder, name: str) -> None:
    READ[name](folder)

    answers = answers_after_flips(folder.path / name, lambda: READ[name](folder))

    assert not answers.accepted
    assert all(Path(name).name in said and "\n" not in said for said in answers.refused)


def checked(folder: RunFolder) -> set[str]:
    """Lines of ``sha256sum`` about the run; it finds nothing wrong."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


def test_the_hashes_are_those_that_sha256sum_checks(folder: RunFolder) -> None:
    assert checked(folder) == {f"{name}: OK" for name in READ}


def test_a_run_of_an_earlier_version_is_read_and_reported(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    (folder.path / "SHA256SUMS").unlink()

    folder.read_config()
    folder.read_weights()

    assert sum("no checksum" in record.message for record in caplog.records) == 1


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_read(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    first = folder.read_checkpoint()
    assert first is not None
    folder.write_checkpoint(2, {**first, "rows": [{"epoch": 1}, {"epoch": 2}]})
    path = folder.path / "checkpoints" / "epoch-00002.pt"
    path.write_bytes(path.read_bytes()[:-100])

    found = folder.read_checkpoint()

    assert found is not None
    assert found["rows"] == [{"epoch": 1}]
    assert "epoch-00002.pt cannot be used" in caplog.text


def test_a_second_training_of_one_name_is_refused(folder: RunFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(DwplusError, match="another training writes run run; wait for it, or choose another --name"),
        RunFolder(folder.path).locked(),
    ):
        pass


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_never_scored(folder: RunFolder, value: float) -> None:
    state = folder.read_weights()
    name = next(name for name, values in state.items() if values.is_floating_point())
    state[name].view(-1)[0] = value
    folder.write_weights("model.safetensors", state)

    with pytest.raises(DataError, match=f"weights of {name} are not numbers"):
        load(folder.path, device="cpu")
    with pytest.raises(DataError, match="are not numbers"):
        check_numbers(state, where="here")
    check_numbers({"counts": torch.tensor([1])}, where="here")


def test_files_of_a_run_may_be_read_by_those_who_may_read_others(folder: RunFolder) -> None:
    mask = os.umask(0o022)
    os.umask(mask)

    for name in READ:
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("left", ["checkpoints/.epoch-00002.pt.1.tmp", ".model.safetensors.7.tmp"])
@pytest.mark.parametrize("start", ["prepare", "write_rows"])
def test_what_a_killed_save_left_is_removed_by_the_next_command(folder: RunFolder, left: str, start: str) -> None:
    (folder.path / left).write_bytes(b"half")

    folder.prepare() if start == "prepare" else folder.write_rows([])

    assert not (folder.path / left).exists()
    assert checked(folder) == {f"{name}: OK" for name in READ}


def test_a_checkpoint_that_is_removed_leaves_the_list_of_hashes(folder: RunFolder) -> None:
    state = folder.read_checkpoint()
    assert state is not None
    folder.write_checkpoint(2, state)

    folder.keep_checkpoints(1)

    assert checked(folder) == {f"{name}: OK" for name in READ} - {"checkpoints/epoch-00001.pt: OK"} | {
        "checkpoints/epoch-00002.pt: OK"
    }


def test_commands_that_write_at_once_lose_no_hash(folder: RunFolder) -> None:
    # Given four scorings of one run, each of another split, again and again.
    names = [[f"scores-{place}-{number}.json" for number in range(10)] for place in range(4)]
    faults: list[BaseException] = []

    def score(mine: list[str]) -> None:
        try:
            for name in mine:
                RunFolder(folder.path).write_json(name, {"miou": 0.5})
        except BaseException as error:  # a thread tells nobody
            faults.append(error)

    threads = [threading.Thread(target=score, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not faults
    assert checked(folder) == {f"{name}: OK" for name in (*READ, *(name for mine in names for name in mine))}


def test_one_document_that_is_written_and_read_at_once_is_never_called_damaged(folder: RunFolder) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(1, 60):
            RunFolder(folder.path).write_json("scores.json", {"miou": number})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    read = []
    while not done.is_set():
        read.append(folder.read_json("scores.json")["miou"])
    thread.join()

    assert read == sorted(read)


def test_a_reader_that_is_outrun_by_writers_again_and_again_finds_no_damage(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a writer that is done between the look at the hashes and that at the bytes, each of five times."""
    folder.write_json("scores.json", {"miou": 0})
    hashed, numbers = run_files._sha256_at, iter(range(1, 6))

    def outrun(path: Path) -> str:
        if path.name == "scores.json" and (number := next(numbers, None)) is not None:
            folder.write_json("scores.json", {"miou": number})
        return hashed(path)

    monkeypatch.setattr(run_files, "_sha256_at", outrun)

    assert folder.read_json("scores.json") == {"miou": 5}

    (folder.path / "scores.json").write_text('{"miou": 99}')
    with pytest.raises(DataError, match="was changed or damaged"):
        folder.read_json("scores.json")


def test_a_folder_that_cannot_be_written_is_said_before_the_work(folder: RunFolder) -> None:
    (folder.path / ".SHA256SUMS.lock").unlink()
    (folder.path / ".SHA256SUMS.lock").mkdir()

    with pytest.raises(DwplusError, match=r"cannot write .*SHA256SUMS\.lock"):
        folder.prepare()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("primary", ["B99"], "its bands are"), ("class_counts", [1] * 8, "one for each of 9"),
     ("protocol", "x", "protocol"), ("class_counts", [10**30, *[1] * 8], "counts from 0 on"),
     ("statistics", {"B2": [0, 1]}, "no statistics of band VV")],
)  # fmt: skip
def test_a_run_of_data_that_cannot_be_is_refused_before_it_is_scored(
    folder: RunFolder, key: str, value: object, said: str
) -> None:
    document = folder.read_json("config.json")
    folder.write_json("config.json", {**document, "data": {**document["data"], key: value}})

    with pytest.raises(DataError, match=rf"config\.json cannot be used: .*{said}"):
        load(folder.path, device="cpu")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "change its permissions, or name another folder with --runs"),
        (errno.EACCES, "change its permissions, or name another folder with --runs"),
        (errno.EIO, "look at the disk, or name another folder with --runs"),
    ],
)
def test_a_run_that_cannot_be_written_is_one_line_with_the_advice_that_fits(
    tmp_path: Path, code: int, advice: str
) -> None:
    def fail(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(MachineError) as caught:
        write_whole(tmp_path / "scores.json", fail)

    assert str(caught.value).startswith(f"cannot write {tmp_path / 'scores.json'}: {os.strerror(code)}; {advice}")

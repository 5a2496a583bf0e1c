"""A run's folder: names, locks, checksums, and weights that are numbers."""

import errno
import os
import random
import stat
from pathlib import Path

import pytest
import torch
from dwplus.model.config import to_mapping
from dwplus.model.registry import configure, spec
from dwplus.model.runs import DataCard, RunConfig, RunFolder, check_numbers, run_name, write_whole
from dwplus.model.score import load
from dwplus.pipeline.errors import DataError, DwplusError, MachineError, UsageError

CARD = DataCard(("B2",), ("VV",), "strict", "SANDBOX", "abc", 3, (1,) * 9, {"B2": (0.1, 0.1), "VV": (-12.0, 3.0)})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A complete run with a checkpoint and scores, without training."""
    config = configure("specsar-former-small", 1, 1)
    state = spec("specsar-former-small").network(config).state_dict()
    folder = RunFolder(tmp_path / "run")
    folder.write_config(RunConfig("0.1.0", "specsar-former-small", to_mapping(config), {"epochs": 1}, CARD))
    folder.write_rows([{"epoch": 1, "loss": 0.5}])
    folder.write_checkpoint(1, {"rows": [{"epoch": 1}], "network": state, "optimiser": {}})
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
    path = folder.path / name
    whole = path.read_bytes()
    READ[name](folder)
    draw = random.Random(3)
    for _ in range(40):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        with pytest.raises(DataError, match=Path(name).name):
            READ[name](folder)


def test_the_hashes_are_those_that_sha256sum_checks(folder: RunFolder) -> None:
    import subprocess

    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder.path, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert set(checked.stdout.splitlines()) == {f"{name}: OK" for name in READ}


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


def test_what_a_killed_save_left_is_removed(folder: RunFolder) -> None:
    left = folder.path / "checkpoints" / ".epoch-00002.pt.1.tmp"
    left.write_bytes(b"half")

    folder.keep_checkpoints(1)

    assert not left.exists()


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

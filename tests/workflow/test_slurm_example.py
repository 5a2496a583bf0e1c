"""The batch file of the documents, run with two processes on CPUs by stand-ins for Slurm's two commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from support.fixture_types import LayOut
from support.paths import REPOSITORY

pytestmark = pytest.mark.slow

BATCH_FILE = REPOSITORY / "docs" / "examples" / "train.sbatch"

SRUN = """#!/bin/bash
# Starts the tasks, hands USR1 on to them as Slurm does, and ends with the largest exit code.
tasks=()
for rank in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" & tasks+=($!)
done
trap 'kill -USR1 "${tasks[@]}"' USR1
echo $$ > "$STUBS/srun.pid"
code=0
for task in "${tasks[@]}"; do
    while true; do
        wait "$task"; found=$?
        kill -0 "$task" 2>/dev/null || break  # the wait ended for the signal
    done
    [ "$found" -gt "$code" ] && code=$found
done
exit "$code"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$STUBS/scontrol.log"; fi
"""
NETWORK = "model_options={widths=[16,32],depths=[1,1],heads=[1,2],reductions=[4,2],decoder_width=16}"


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=8, test=1, size=32)


def submit(root: DataRoot, stubs: Path, epochs: int) -> subprocess.Popen[str]:
    """Run the batch file as Slurm would with two tasks on one node; options of ours come after those in the file."""
    dwplus = f'#!/bin/bash\nexec {sys.executable} -m dwplus.cli "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("dwplus", dwplus)):
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "here"}
    settings = ("device=cpu", "workers=0", "batch=4", "batch_per_device=2", NETWORK)
    options = ["--source", "sandbox", "--data", str(root.folder.parent), "--model", "specsar-former-small"]
    options += ["--epochs", str(epochs), *(part for one in settings for part in ("--set", one))]
    environment = {
        **os.environ,
        **job,
        "STUBS": str(stubs),
        "PATH": f"{stubs}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(["bash", str(BATCH_FILE), *options], env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_one_run(root: DataRoot, tmp_path: Path) -> None:
    job = submit(root, tmp_path, epochs=2)
    _, said = job.communicate(timeout=300)

    assert job.returncode == 0, said
    folder = RunFolder(root.runs / "first")
    assert folder.complete
    assert folder.read_config().computing[0].processes == 2
    assert not (tmp_path / "scontrol.log").exists()


def test_the_signal_leaves_a_checkpoint_and_the_job_is_queued_again(root: DataRoot, tmp_path: Path) -> None:
    job = submit(root, tmp_path, epochs=10_000)
    folder = RunFolder(root.runs / "first")
    while job.poll() is None and not folder.read_rows():
        time.sleep(0.2)

    os.kill(int((tmp_path / "srun.pid").read_text()), signal.SIGUSR1)
    _, said = job.communicate(timeout=120)

    assert job.returncode == 130, said
    assert (tmp_path / "scontrol.log").read_text().startswith("requeue ")
    assert list((folder.path / "checkpoints").glob("epoch-*.pt"))
    assert not folder.complete

"""Machine: limits of batch jobs and containers count, not what the hardware has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dwplus.pipeline import machine


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_available", lambda: 64 << 30)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_max", ".max").replace("_current", ".current")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_cores_of_a_batch_job_are_those_it_may_run_on(container: Path) -> None:
    assert machine.usable_cores() == 16


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", 16), ("250000 100000\n", 3), ("50000 100000\n", 1), ("", 16), ("x\n", 16)]
)
def test_a_containers_share_of_processor_time_limits_the_cores(container: Path, text: str, cores: int) -> None:
    put(container, cpu_max=text)

    assert machine.usable_cores() == cores


def test_an_older_containers_limit_is_read_too(container: Path) -> None:
    (container / "cpu").mkdir()
    (container / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (container / "cpu" / "cpu.cfs_period_us").write_text("100000\n")

    assert machine.usable_cores() == 2


def test_memory_is_what_the_container_leaves(container: Path) -> None:
    assert machine.usable_memory_bytes() == 64 << 30
    put(container, memory_max="4294967296\n", memory_current="1073741824\n")

    assert machine.usable_memory_bytes() == 3 << 30


@pytest.mark.parametrize("level", ["", "jobs", "jobs/job_7", "jobs/job_7/step_0"])
def test_a_limit_of_any_group_above_a_batch_job_counts(container: Path, level: str) -> None:
    # Given SLURM, which puts each step below the group of its job.
    (container.parent / "own").write_text("0::/jobs/job_7/step_0\n")
    (container / "jobs" / "job_7" / "step_0").mkdir(parents=True)
    put(container / level, cpu_max="200000 100000\n", memory_max="4294967296\n", memory_current="1073741824\n")
    # A neighbour's limit says nothing.
    put(container / "jobs" / "job_8", cpu_max="100000 100000\n", memory_max="1024\n", memory_current="0\n")

    assert machine.usable_cores() == 2
    assert machine.usable_memory_bytes() == 3 << 30


def test_groups_of_an_older_kernel_are_found_by_controller(container: Path) -> None:
    (container.parent / "own").write_text("9:name=systemd:/\n4:memory:/job\n1:cpu,cpuacct:/\n0::/\n")
    job = container / "memory" / "job"
    job.mkdir(parents=True)
    (job / "memory.limit_in_bytes").write_text(f"{4 << 30}\n")
    (job / "memory.usage_in_bytes").write_text(f"{1 << 30}\n")

    assert machine.usable_memory_bytes() == 3 << 30


def test_files_that_a_container_holds_in_memory_are_no_loss(container: Path) -> None:
    # Given 4 GiB of which 3.5 are in use, 3 of them by files that were read and are needed no longer.
    put(container, memory_max=f"{4 << 30}\n", memory_current=f"{7 << 29}\n")
    (container / "memory.stat").write_text(f"anon {1 << 29}\nfile {3 << 30}\ninactive_file {3 << 30}\n")

    assert machine.usable_memory_bytes() == 7 << 29


FAULTS = """
import resource, sys
import numpy as np
from dwplus.pipeline.machine import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""The pages that a second buffer of 64 MB costs a process that has freed one."""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told so")
def test_memory_that_is_kept_is_not_handed_out_page_by_page_again() -> None:
    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True).stdout)

    usual, kept = faults("usual"), faults("kept")

    if usual < 100:
        pytest.skip("this C library keeps memory anyway")
    assert kept < usual / 10

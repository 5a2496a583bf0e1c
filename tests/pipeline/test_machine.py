"""Machine: limits of batch jobs and containers count, not what the hardware has."""

import os
from pathlib import Path

import pytest
from dwplus.pipeline import machine


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_available", lambda: 64 << 30)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    return tmp_path


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

"""Faults, limits, archives, and how a local Earth Engine starts and ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import ee
import pytest
import requests
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.server.releases_http import ReleaseFiles, parse_range
from dwplus.pipeline.errors import ServiceError
from support.local_ee_client import (
    FIXTURES,
    PLANET,
    SIZE,
    connected,
    fetch,
    serving,
)
from support.local_ee_scenes import NORTH, S2


@pytest.fixture(scope="module")
def server() -> Iterator[LocalEarthEngine]:
    with serving() as running:
        yield running


@pytest.fixture
def faults(server: LocalEarthEngine) -> Iterator[LocalEarthEngine]:
    """The server, whose faults end with the test, and a client that does not retry."""
    ee.data.setMaxRetries(0)
    yield server
    server.set_faults([])
    ee.data.setMaxRetries(5)


# Faults and limits ----------------------------------------------------------------------------------------------------


def test_errors_on_purpose_come_as_often_as_planned(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "status": 503, "times": 2}])
    for _ in range(2):
        with pytest.raises(ee.EEException, match="currently unavailable"):
            ee.Number(1).getInfo()
    assert ee.Number(1).getInfo() == 1


def test_quota_errors_carry_retry_after(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "status": 429, "skip": 1, "times": 1, "retry_after": 7}])
    assert ee.Number(1).getInfo() == 1
    with pytest.raises(ee.EEException, match="Quota exceeded") as caught:
        ee.Number(1).getInfo()
    assert caught.value.__context__.resp["retry-after"] == "7"
    assert caught.value.__context__.resp.status == 429


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"drop": True}, ConnectionError),
        ({"truncate": 1000}, ConnectionError),
        ({"short": 1000}, ValueError),
        ({"html": True}, ValueError),
    ],
)
def test_broken_answers_break_the_client_as_real_ones_do(
    faults: LocalEarthEngine, fault: dict[str, Any], error: type[Exception]
) -> None:
    faults.set_faults([{"match": "computePixels", "times": 1, **fault}])
    image = ee.Image(f"{S2}/NORTH").select(["B2"])

    with pytest.raises(error):
        fetch(image, NORTH)
    assert fetch(image, NORTH).shape == (SIZE, SIZE)


def test_a_delay_runs_into_the_deadline(faults: LocalEarthEngine) -> None:
    faults.set_faults([{"match": "value:compute", "body": "918273", "delay_s": 2.0}])
    ee.data.setDeadline(500)
    try:
        with pytest.raises(TimeoutError):
            ee.Number(918273).getInfo()
        assert ee.Number(1).getInfo() == 1
    finally:
        ee.data.setDeadline(0)


def test_a_plan_that_cannot_be_read_is_refused(server: LocalEarthEngine) -> None:
    with pytest.raises(ServiceError, match="Unknown field of a fault: colour"):
        server.set_faults([{"colour": "red"}])


def test_more_requests_than_allowed_get_429(server: LocalEarthEngine) -> None:
    with connected(server, max_concurrent=2, latency=0.3) as other:
        ee.data.setMaxRetries(0)

        def code(_: int) -> int:
            try:
                ee.Number(1).getInfo()
            except ee.EEException as error:
                return int(error.__context__.resp.status)
            return 200

        with ThreadPoolExecutor(6) as threads:
            codes = list(threads.map(code, range(6)))
        ee.data.setMaxRetries(5)
        assert sorted(set(codes)) == [200, 429]
        assert max(entry["running"] for entry in other.log()["requests"]) <= 2


def test_a_slow_service_takes_its_time_and_the_log_tells_what_was_done(server: LocalEarthEngine) -> None:
    plan = [{"match": "value:compute", "skip": 1, "times": 1, "status": 429}]
    with connected(server, latency={"kind": "uniform", "low_s": 0.2, "high_s": 0.3}, faults=plan) as other:
        ee.data.setMaxRetries(1)
        assert [ee.Number(number).getInfo() for number in range(3)] == [0, 1, 2]
        ee.data.setMaxRetries(5)
        log = other.log()

    computed = [entry for entry in log["requests"] if "value:compute" in entry["path"]]
    assert [(entry["code"], entry["fault"]) for entry in computed] == [(200, ""), (429, "429"), (200, ""), (200, "")]
    assert all(0.2 <= entry["seconds"] < 2.0 for entry in computed if entry["code"] == 200)
    assert log["faults"] == [{"fault": "429", "met": 4, "struck": 1}]
    assert log["counts"]["POST value:compute 200"] == 3


# Start and end --------------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_start_says_why() -> None:
    broken = LocalEarthEngine({"kind": "python", "file": str(FIXTURES), "function": "missing"}, workers=1)

    with pytest.raises(ServiceError, match=r"did not start: .*KeyError: 'missing'"):
        broken.start()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    """Children of all threads of a process."""
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in found for child in children]


def new_worker(running: LocalEarthEngine, known: set[int]) -> int:
    """Process id of a worker that is not known, as soon as there is one; from now on it is."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        for pid in set(children(running.pid)) - known:
            with suppress(FileNotFoundError):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    known.add(pid)
                    return pid
        time.sleep(0.005)
    raise AssertionError("no worker was started")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the process table in /proc")
def test_a_worker_that_is_killed_is_replaced_and_its_request_answered(server: LocalEarthEngine) -> None:
    with connected(server) as other, ThreadPoolExecutor(1) as thread:
        ee.data.setMaxRetries(0)
        known: set[int] = set()
        os.kill(new_worker(other, known), signal.SIGKILL)  # while it has nothing to do
        assert ee.Number(1).getInfo() == 1

        os.kill(busy := new_worker(other, known), signal.SIGSTOP)  # a request that takes long
        answer = thread.submit(ee.Number(2).getInfo)
        time.sleep(0.3)
        os.kill(busy, signal.SIGKILL)
        assert answer.result(timeout=20) == 2

        os.kill(busy := new_worker(other, known), signal.SIGSTOP)
        answer = thread.submit(ee.Number(3).getInfo)
        time.sleep(0.3)
        os.kill(busy, signal.SIGKILL)
        os.kill(new_worker(other, known), signal.SIGKILL)  # a request that nothing survives
        with pytest.raises(ee.EEException, match=r"orker process .*ended") as caught:
            answer.result(timeout=20)
        assert caught.value.__context__.resp.status == 500
        assert ee.Number(4).getInfo() == 4
        assert other.complaints().count("ended before its answer; replaced") >= 3
        ee.data.setMaxRetries(5)


def test_settings_and_ports_that_cannot_be_are_named(server: LocalEarthEngine) -> None:
    with pytest.raises(ServiceError, match="did not start: latency: unknown kind None"):
        LocalEarthEngine(PLANET, latency={}).start()
    with pytest.raises(ServiceError, match=r"did not start: port \d+ of 127.0.0.1: .*; name another, or 0"):
        LocalEarthEngine(PLANET, port=int(server.url.rsplit(":", 1)[1])).start()
    assert server.complaints() == ""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads the process table in /proc")
def test_server_workers_and_files_end_with_a_parent_that_is_killed() -> None:
    program = f"""
        import sys, time
        from pathlib import Path
        from dwplus.local_ee.launch import LocalEarthEngine
        running = LocalEarthEngine({PLANET!r}, workers=2).start()
        print(running.pid, running.credentials_file, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, credentials = parent.stdout.readline().split()
        processes = [int(pid), *children(int(pid))]
        assert len(processes) >= 3
        os.kill(parent.pid, signal.SIGKILL)

    limit = time.monotonic() + 5
    while any(alive(process) for process in processes) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not [process for process in processes if alive(process)]
    assert not Path(credentials).parent.exists()


def test_the_end_of_a_block_ends_the_server_and_interrupts_do_not(server: LocalEarthEngine) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)  # Ctrl-C in a terminal reaches one process group
    os.kill(server.pid, signal.SIGINT)
    assert ee.Number(1).getInfo() == 1
    with LocalEarthEngine(PLANET, workers=1) as other:
        pid, folder = other.pid, other.credentials_file.parent
    assert not alive(pid)
    assert not folder.exists()


def test_the_environment_points_an_unmodified_client_here(server: LocalEarthEngine) -> None:
    program = """
        import os, ee
        ee.Initialize(url=os.environ["EE_URL"], project=os.environ["EE_PROJECT_ID"])
        print(ee.Number(20).add(1).multiply(2).getInfo())
    """
    environment = {**os.environ, **server.environment()}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.strip() == "42", done.stderr


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=2-", (2, 10)),
        ("bytes=2-4", (2, 5)),
        ("bytes=-3", (7, 10)),
        ("bytes=5-99", (5, 10)),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_first_and_last_byte(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == part


def test_a_range_beyond_the_file_is_an_error() -> None:
    with pytest.raises(ValueError, match="range"):
        parse_range("bytes=10-", 10)


class Archive:
    """One file of ten bytes, for ``ReleaseFiles``."""

    def open(self, path: str) -> tuple[Any, int, str] | None:
        return (io.BytesIO(b"0123456789"), 10, "application/zip") if path == "a/b.zip" else None


@pytest.fixture
def archive_url() -> Iterator[str]:
    files = ReleaseFiles({}, 1, Path())
    files._source = Archive()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.serve(self, None)

        def do_HEAD(self) -> None:
            files.serve(self, None)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/releases/"
        http.shutdown()
        thread.join()


def test_archives_are_served_in_parts_without_a_token(archive_url: str) -> None:
    whole = requests.get(archive_url + "a/b.zip", timeout=5)
    rest = requests.get(archive_url + "a/b.zip", headers={"Range": "bytes=4-"}, timeout=5)
    again = {"Range": "bytes=4-6", "If-Range": whole.headers["ETag"]}
    changed = {"Range": "bytes=4-6", "If-Range": '"another file"'}

    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Type"]) == ("bytes", "application/zip")
    assert (rest.status_code, rest.content, rest.headers["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    assert requests.get(archive_url + "a/b.zip", headers=again, timeout=5).content == b"456"
    assert requests.get(archive_url + "a/b.zip", headers=changed, timeout=5).content == b"0123456789"
    head = requests.head(archive_url + "a/b.zip", timeout=5)
    assert (head.headers["Content-Length"], head.content) == ("10", b"")
    beyond = requests.get(archive_url + "a/b.zip", headers={"Range": "bytes=10-"}, timeout=5)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */10")
    assert requests.get(archive_url + "nothing", timeout=5).status_code == 404

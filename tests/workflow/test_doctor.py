"""The doctor: each trouble that a person meets before a build, over real HTTP, ends in a line that says what to do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.errors import AuthenticationError, ExitCode, ServiceError
from dwplus.pipeline.spec.sources import EARTH_ENGINE, SANDBOX
from dwplus.workflow.doctor import machine
from dwplus.workflow.doctor.checklist import Check, document, exit_code, lines, summary, within
from dwplus.workflow.doctor.doctor import Question, clock, examine, quota_documented, quota_told

Examine = Callable[..., dict[str, Check]]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    with LocalEarthEngine(workers=1) as engine:
        yield engine


@pytest.fixture
def view(
    engine: LocalEarthEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, Check]]]:
    """Examine with the key of the local Earth Engine, on a machine where nobody has signed in; by name of the check."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def view(
        *, url: str | None = None, project: str | None = "local-earth-engine", key: Path | None = None, wait: float = 20
    ) -> dict[str, Check]:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(key or engine.credentials_file)}
        question = Question(
            "earthengine", url or engine.url, project, tmp_path / "data", deadline_s=wait, sign_in_only=True
        )
        return {check.name: check for check in examine(question, environment=environment)}

    yield view
    engine.set_faults([])


def asked(engine: LocalEarthEngine) -> int:
    """Requests of the client so far."""
    return sum(number for what, number in engine.log()["counts"].items() if " log " not in what)


def test_a_good_key_and_project_end_in_a_pixel_and_no_secret_is_told(view: Examine, engine: LocalEarthEngine) -> None:
    checks = view()

    assert [check.state for check in checks.values()] == ["ok"] * len(checks)
    assert exit_code(checks.values()) == ExitCode.OK
    assert "local@local-earth-engine.iam.gserviceaccount.com" in checks["credentials"].found
    assert "SANDBOX" in checks["test pixel"].found
    assert "B4 of 13 July 2019" in checks["test pixel"].found
    assert checks["registration"].found == checks["status"].found == "not told by the service"
    assert "tier" not in checks, "the tiers are Google's"
    told = json.dumps(document(checks.values()))
    key = json.loads(engine.credentials_file.read_text())["private_key"]
    assert "PRIVATE KEY" not in told
    assert key.splitlines()[3] not in told


def test_without_a_project_nothing_is_asked(view: Examine, engine: LocalEarthEngine) -> None:
    before = asked(engine)

    checks = view(project=None)

    assert asked(engine) == before
    assert exit_code(checks.values()) == ExitCode.AUTHENTICATION
    assert "that of the credentials is local-earth-engine" in checks["project"].found
    assert "EE_PROJECT_ID" in checks["project"].next_step


def test_a_project_that_the_server_does_not_know_is_an_authentication_error(view: Examine) -> None:
    checks = view(project="somebody-elses")

    assert exit_code(checks.values()) == ExitCode.AUTHENTICATION
    assert checks["session"].state == "error"
    assert "somebody-elses" in checks["session"].found
    assert "test pixel" not in checks


def test_a_key_that_the_server_does_not_know_is_told_from_a_login_that_ended(
    view: Examine, engine: LocalEarthEngine, tmp_path: Path
) -> None:
    # Given a key file with the right names, but a private key that the server has never seen.
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    forged = json.loads(engine.credentials_file.read_text()) | {"private_key": private.decode()}
    (tmp_path / "key.json").write_text(json.dumps(forged))

    unknown = view(key=tmp_path / "key.json")
    engine.set_faults([{"match": "algorithms", "status": 401}])
    ended = view()

    assert exit_code(unknown.values()) == exit_code(ended.values()) == ExitCode.AUTHENTICATION
    assert unknown["session"].state == "error"
    assert "the login has ended" in ended["session"].next_step
    assert "earthengine authenticate --force" in ended["session"].next_step


def test_a_file_that_is_no_key_is_told_before_anything_is_asked(view: Examine, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"type": "service_account", "client_email": "a@b.iam.gserviceaccount.com"}')

    checks = view(key=tmp_path / "key.json")

    assert (checks["credentials"].state, "no private key" in checks["credentials"].found) == ("error", True)
    assert exit_code(checks.values()) == ExitCode.AUTHENTICATION


def test_a_role_that_is_missing_is_named(view: Examine, engine: LocalEarthEngine) -> None:
    text = "Caller does not have required permission to use project p. Grant the caller serviceusage.services.use"
    engine.set_faults([{"match": "algorithms", "status": 403, "message": text}])

    checks = view()

    assert exit_code(checks.values()) == ExitCode.AUTHENTICATION
    assert "Service Usage Consumer" in checks["session"].next_step


def test_a_server_that_is_down_is_no_matter_of_credentials(view: Examine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

    checks = view(url=url)

    assert exit_code(checks.values()) == ExitCode.ERROR
    assert f"{url} cannot be reached" in checks["server"].found
    assert list(checks)[-1] == "server"


def test_a_server_of_something_else_is_told(view: Examine, engine: LocalEarthEngine) -> None:
    engine.set_faults([{"match": "discovery", "html": True}])

    checks = view()

    assert "no server of the Earth Engine API" in checks["server"].found
    assert exit_code(checks.values()) == ExitCode.ERROR


def test_pixels_that_are_refused_are_told_apart_from_a_refused_session(view: Examine, engine: LocalEarthEngine) -> None:
    engine.set_faults([{"match": "computePixels", "status": 400, "message": "User memory limit exceeded."}])

    checks = view()

    assert checks["session"].state == "ok"
    assert (checks["test pixel"].state, exit_code(checks.values())) == ("error", ExitCode.ERROR)
    assert "memory limit" in checks["test pixel"].found


@pytest.mark.parametrize(
    ("where", "step", "wait", "delay"),
    # The session has to come about in time before pixels can stall.
    [("discovery", "server", 1, 3), ("algorithms", "session", 1, 3), ("computePixels", "test pixel", 2.5, 6)],
)
def test_a_server_that_stalls_holds_nothing_up(
    view: Examine, engine: LocalEarthEngine, where: str, step: str, wait: float, delay: float
) -> None:
    engine.set_faults([{"match": where, "delay_s": delay}])
    began = time.monotonic()

    checks = view(wait=wait)

    assert time.monotonic() - began < delay
    assert exit_code(checks.values()) == ExitCode.ERROR
    assert checks[step].state == "error"
    if where == "algorithms":  # the next test must not meet a client that is still being started
        engine.set_faults([])
        for thread in threading.enumerate():
            if thread.name in ("checklist", "connect"):
                thread.join(10)


def test_the_sandbox_is_checked_by_starting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    checks = {c.name: c for c in examine(Question(data=tmp_path / "data"), environment={}, free_bytes=10**12)}

    assert "nothing of Earth Engine is configured" in checks["source"].found
    assert "SANDBOX" in checks["test pixel"].found
    assert exit_code(checks.values()) == ExitCode.OK
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("source", "code"), [("auto", ExitCode.AUTHENTICATION), ("sandbox", ExitCode.OK)])
def test_a_check_of_the_sign_in_says_of_the_sandbox_that_no_account_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: ExitCode
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    checks = {c.name: c for c in examine(Question(source, data=tmp_path / "data", sign_in_only=True), environment={})}

    assert list(checks) == ["source", "account"]
    assert "no service was asked" in checks["account"].found
    assert exit_code(checks.values()) == code


def test_an_account_that_a_local_server_accepts_is_told_from_one_of_google(view: Examine) -> None:
    assert "no account of Google was checked" in view()["session"].found


def test_a_small_disk_is_a_warning_and_a_full_one_an_error(tmp_path: Path) -> None:
    # 17,192 shards of 3.9 MB and 9.5 GB of labels = 76.5 GB; 24,603 of 4.6 MB and as much = 122.7 GB.
    needed = machine.needed_gb(EARTH_ENGINE)
    assert [round(number, 1) for number in needed] == [76.5, 122.7]

    small = machine.disk(tmp_path, needed, free_bytes=60_000_000_000)
    full = machine.disk(tmp_path, needed, free_bytes=200_000_000)

    assert (small.state, "60.0 GB free; --region all needs 76.5 to 122.7 GB" in small.found) == ("warning", True)
    assert (full.state, "--data" in full.next_step) == ("error", True)
    assert machine.disk(tmp_path, needed, free_bytes=200_000_000_000).state == "ok"
    assert machine.disk(tmp_path, machine.needed_gb(SANDBOX), free_bytes=2_000_000_000).state == "ok"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    # Root may write where permissions say no, so a file stands where the folder should be.
    (tmp_path / "data").write_text("")

    check = machine.writable(tmp_path / "data" / "earthengine")

    assert (check.state, "cannot write in" in check.found, "--data" in check.next_step) == ("error", True, True)


def test_locks_work_here_and_a_network_file_system_is_named(tmp_path: Path) -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n"

    assert machine.locks(tmp_path / "not" / "there").state in ("ok", "warning")
    assert machine.file_system(Path("/var/data"), mounts) == "ext4"
    assert machine.file_system(Path("/home/me/data"), mounts) == "nfs4"
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_open_files_and_the_password_of_a_proxy() -> None:
    assert machine.open_files(256).state == "warning"
    assert machine.open_files(-1).state == "ok"
    proxies = machine.proxies({"https": "http://me:secret@proxy.example:3128", "no": "localhost"})
    assert proxies.found == "https proxy.example:3128, no localhost"


@pytest.mark.parametrize(
    ("off_s", "state", "words"),
    [(2, "ok", "2 s from"), (90, "warning", "90 s ahead"), (-600, "error", "600 s behind")],
)
def test_a_clock_that_is_wrong_is_told_by_how_much(off_s: int, state: str, words: str) -> None:
    server = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)

    check = clock(format_datetime(server, usegmt=True), server + timedelta(seconds=off_s))

    assert (check.state, words in check.found) == (state, True)
    assert clock("", server).found == "not told by the server"


def test_the_quota_says_what_the_service_told_and_nothing_else() -> None:
    silent = {c.name: c for c in quota_told(None, "")}
    registered = {"registrationState": "REGISTERED_NOT_COMMERCIALLY"}
    restricted = {c.name: c for c in quota_told(registered, "parallelism_restricted=true")}
    documented = {c.name: c for c in quota_documented()}

    assert silent["registration"].found == silent["status"].found == "not told by the service"
    assert "not told by the service; documented EECU-hours a month: Community 150" in documented["tier"].found
    assert restricted["registration"].found == "REGISTERED_NOT_COMMERCIALLY"
    unregistered = list(quota_told({"registrationState": "NOT_REGISTERED"}, ""))
    assert exit_code(unregistered) == ExitCode.AUTHENTICATION
    assert (restricted["status"].state, "restricted" in restricted["status"].found) == ("warning", True)


def test_a_step_that_takes_too_long_is_left_behind_and_errors_come_through() -> None:
    release = threading.Event()
    with pytest.raises(ServiceError, match=r"no answer within 0\.05 s"):
        within(0.05, release.wait)
    release.set()
    with pytest.raises(AuthenticationError):
        within(5, lambda: (_ for _ in ()).throw(AuthenticationError("no")))
    assert within(5, lambda: 42) == 42


def test_the_checklist_reads_from_top_to_bottom() -> None:
    first = Check("Service", "server", "ok", "answered")
    second = Check("Service", "session", "error", "refused", "sign in", authentication=True)
    third = Check("Quota", "tier", "warning", "low", "wait")

    assert lines(first, None) == ["Service", "  ok       server            answered"]
    assert lines(second, first)[-1].strip() == "-> sign in"
    assert lines(third, second)[:2] == ["", "Quota"]
    assert summary([first, second, third]) == "3 checks: 1 error, 1 warning"
    assert document([first, second, third])["exit_code"] == 4

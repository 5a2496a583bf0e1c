"""The transport over real HTTP: deadlines, short answers, codings, and what the service says in headers."""

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from dwplus.pipeline.earthengine.transport import Transport

BODY = bytes(range(256)) * 4000


class Handler(BaseHTTPRequestHandler):
    """Answers well or badly, as the path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        way = self.path.strip("/")
        if way == "stall":
            time.sleep(3)
            return
        coded = gzip.compress(BODY) if way == "gzip" else BODY
        self.send_response(429 if way == "quota" else 200)
        self.send_header("Content-Length", str(len(coded) + (100 if way == "short" else 0)))
        if way == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("x-earth-engine-quota-status", "parallelism_restricted=true")
        self.end_headers()
        if way == "trickle":
            for at in range(0, len(BODY), 1000):
                self.wfile.write(BODY[at : at + 1000])
                time.sleep(0.05)
        else:
            self.wfile.write(coded)
        self.close_connection = way == "short"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("way", ["plain", "gzip"])
def test_an_answer_arrives_whole_whatever_its_coding(url: str, way: str) -> None:
    transport = Transport(deadline_s=10)

    response, content = transport.request(f"{url}/{way}", "POST", body=b"x" * 5000, headers={"A": "b"})

    assert (response.status, content) == (200, BODY)


def test_what_the_service_says_of_the_quota_is_kept(url: str) -> None:
    transport = Transport(deadline_s=10)

    response, _ = transport.request(f"{url}/quota")

    assert response.status == 429
    assert transport.quota_status == "parallelism_restricted=true"
    assert transport.server_date


@pytest.mark.parametrize("way", ["stall", "trickle"])
def test_no_answer_outlives_the_deadline(url: str, way: str) -> None:
    # A trickle of 1 kB every 50 ms would take 51 s: each read is quick, the whole is not.
    started = time.monotonic()

    with pytest.raises(TimeoutError, match=r"0\.5 s"):
        Transport(deadline_s=0.5).request(f"{url}/{way}")

    assert time.monotonic() - started < 2.5


def test_a_short_answer_is_a_broken_connection(url: str) -> None:
    with pytest.raises(ConnectionError, match=r"connection failed|ended after"):
        Transport(deadline_s=10).request(f"{url}/short")


def test_nobody_at_the_address_is_a_broken_connection() -> None:
    with pytest.raises(ConnectionError, match="connection failed"):
        Transport(deadline_s=5).request("http://127.0.0.1:9/")


def test_many_threads_may_share_it(url: str) -> None:
    transport = Transport(deadline_s=20, connections=8)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: transport.request(f"{url}/plain")[1], range(40)))

    assert all(content == BODY for content in answers)


def test_a_proxy_is_not_asked_for_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert Transport(deadline_s=5).request(f"{url}/plain")[1] == BODY

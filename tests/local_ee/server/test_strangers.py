"""Other users of this machine get nothing but a refusal from a local Earth Engine."""

import json
import socket
from pathlib import Path

import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.server import strangers
from dwplus.local_ee.server.strangers import is_stranger, owner_of
from support.local_ee_client import PLANET, raw
from support.strangers import answers_to_a_stranger, listening_ports, needs_root, tree_of

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 12 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 30 10 -1
"""


@needs_root
def test_another_user_gets_a_refusal_from_every_port_of_a_local_earth_engine() -> None:
    with LocalEarthEngine(PLANET, workers=1) as engine:
        ports = listening_ports(tree_of(engine.pid))
        answers = answers_to_a_stranger(ports)
        code, _, _ = raw(engine, "/$discovery/rest")

    assert ports == {int(engine.url.rpartition(":")[2])}
    assert code == 200
    for _, way, request, answer in answers:
        if way == "plain" and request:
            assert answer.startswith("HTTP/1.1 403 ")
            assert json.loads(answer.partition("\r\n\r\n")[2])["error"]["code"] == 403
        else:
            assert answer == "" or answer.startswith("HTTP/1.1 403 ")


def test_the_owner_of_a_connection_is_read_from_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(TABLE)

    assert owner_of(("127.0.0.1", 50_000), ("127.0.0.1", 8080), (table,)) == 1001
    assert owner_of(("127.0.0.1", 50_001), ("127.0.0.1", 8080), (table,)) is None


def test_a_connection_of_another_user_is_a_strangers_and_so_is_one_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            assert not is_stranger(accepted)
            assert client.getsockname() == accepted.getpeername()
            for owner, expected in ((1001, True), (0, False), (None, True)):
                monkeypatch.setattr(strangers, "owner_of", lambda *_, owner=owner: owner)
                assert is_stranger(accepted) is expected


def test_a_system_without_a_table_leaves_it_to_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(strangers.owner_of, "__defaults__", ((tmp_path / "none",),))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            assert not is_stranger(accepted)

"""Costs that are kept from process to process, and what makes them be counted anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from dwplus.model import cost, kept_costs

NAME, SIZE = "specsar-former-small", 64


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cost.cost_of.cache_clear()
    return tmp_path / "dwplus" / "costs"


def counted_again() -> cost.Cost:
    """As the next process would find it."""
    cost.cost_of.cache_clear()
    return cost.cost_of(NAME, None, SIZE)


def test_a_cost_is_counted_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cost.cost_of(NAME, None, SIZE)
    assert [path.name[: len(NAME)] for path in own_cache.iterdir()] == [NAME]

    monkeypatch.setattr(cost, "_counted", lambda *_: pytest.fail("counted again"))

    assert counted_again() == first


def test_changed_code_is_counted_anew(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cost.cost_of(NAME, None, SIZE)

    monkeypatch.setattr(kept_costs, "code_hash", lambda: "another network")

    assert counted_again() == first
    assert len(list(own_cache.iterdir())) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"params": 1}'])
def test_a_damaged_file_is_counted_anew(own_cache: Path, text: str) -> None:
    first = cost.cost_of(NAME, None, SIZE)
    (path,) = own_cache.iterdir()
    path.write_text(text)

    assert counted_again() == first


def test_a_folder_that_cannot_be_written_to_is_no_fault(own_cache: Path) -> None:
    own_cache.parent.parent.mkdir(exist_ok=True)
    own_cache.parent.write_text("a file where the folder should be")

    assert cost.cost_of(NAME, None, SIZE).params > 0

"""What commands print: tables in which nothing is cut, at any width of the terminal."""

from __future__ import annotations

import re

import pytest
from dwplus.commands.output import Column, by_kind, table_lines
from dwplus.model.cost import Cost
from dwplus.model.registry import MODELS
from support.fixture_types import Run

COLUMNS = (Column("name"), Column("from\nwhom", wraps=True), Column("by\nrule", number=True))
ROWS = [("a-long-name", "One and Two, A Journal 2020", "1.50"), ("b", "Three", "22.25")]


def test_a_table_lines_up_with_numbers_flush_right() -> None:
    assert table_lines(COLUMNS, ROWS, 80) == [
        "name         from whom                    by rule",
        "-" * 49,
        "a-long-name  One and Two, A Journal 2020     1.50",
        "b            Three                          22.25",
    ]


def test_text_that_may_wrap_is_broken_between_words_before_anything_else() -> None:
    lines = table_lines(COLUMNS, ROWS, 32)

    assert max(map(len, lines)) <= 32
    assert lines[3:5] == ["a-long-name  One and Two,   1.50", "             A Journal"]


def test_a_terminal_that_is_too_narrow_gets_a_block_per_row() -> None:
    assert table_lines(COLUMNS, ROWS, 20) == [
        "a-long-name",
        "  from whom: One and",
        "    Two, A Journal",
        "    2020",
        "  by rule: 1.50",
        "b",
        "  from whom: Three",
        "  by rule: 22.25",
    ]


@pytest.mark.parametrize("width", [1, 5, 11, 20, 40, 60, 80, 100, 200])
def test_every_word_of_a_table_is_printed_at_every_width(width: int) -> None:
    printed = "\n".join(table_lines(COLUMNS, ROWS, width)).split()

    for row in ROWS:
        for word in " ".join(row).split():
            assert word in printed


@pytest.mark.parametrize("width", [40, 80, 200])
def test_names_of_networks_are_never_cut(dwplus: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    cost = Cost(26_704_265, 26_704_265, 54.79, 109.59, 124.83, 50.29)
    monkeypatch.setattr("dwplus.model.cost.cost_of", lambda *_: cost)

    printed = dwplus("cost", "specsar-former-small", "table4/ca-sa-mmam", "segformer")[1]

    lines = printed.splitlines()
    for name in ("specsar-former-small", "table4/ca-sa-mmam", "segformer"):
        assert any(re.match(rf"{re.escape(name)}(\s|$)", line) for line in lines)
    assert max(map(len, lines)) <= max(width, 52)  # the last line is a sentence
    assert "…" not in printed


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_list_of_networks_names_all_at_every_width(
    dwplus: Run, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    from dwplus.commands import models

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(models, "_size", lambda *_: (26_704_265, 109.59))

    lines = dwplus("models")[1].splitlines()

    for name in MODELS:
        assert any(line.split()[:1] == [name] for line in lines), name


def test_reasons_of_one_kind_are_one_line() -> None:
    reasons = {
        "/d/a/S2.tif": "/d/a/S2.tif has 12 bands (1 B1, 2 B2); name one",
        "/d/b/S2.tif": "/d/b/S2.tif has 3 bands (1 R, 2 G); name one",
        "/d/c.tif": "/d/c.tif is empty",
    }

    assert by_kind(reasons) == [
        "2 files (a/S2.tif, b/S2.tif): the first has 12 bands (1 B1, 2 B2); name one",
        "/d/c.tif is empty",
    ]


def test_reasons_that_do_not_begin_with_the_file_name_it() -> None:
    assert by_kind({"x.tif": "overlaps no tile"}) == ["x.tif overlaps no tile"]
    assert by_kind({f"{n}.tif": f"lies {n} days away" for n in range(4)}) == [
        "4 files (0.tif, 1.tif, 2.tif, ...): the first lies 0 days away"
    ]
    assert by_kind({}) == []

"""Tables of the paper: cells, Markdown, CSV."""

import csv

from dwplus.workflow.pages.sections.bubbles import bubble_figure, bubbles_of
from dwplus.workflow.pages.sections.summary import facts, legend, square_rows
from dwplus.workflow.pages.sections.tables import as_csv, as_markdown, paper_tables
from dwplus.workflow.reproduction.numbers import paper_numbers
from dwplus.workflow.reproduction.verdicts import Need, Ours, Verdict, judge_all

NEEDS = {"table1.cmx.miou": Need(41.2, "dwplus reproduce --scope paper")}


def verdicts(**ours: Ours) -> tuple[Verdict, ...]:
    """Of all numbers, with what stands beside some: ``table1_cmx_miou=Ours(...)``."""
    return judge_all(paper_numbers(), {key.replace("_", ".", 2): value for key, value in ours.items()}, NEEDS)


def test_a_cell_has_ours_theirs_difference_interval_and_verdict() -> None:
    found = verdicts(table1_segformer_miou=Ours((57.9,), "run-7", bounds=(55.0, 60.5)))

    table = paper_tables(found)[0]
    cell = dict(table.rows)["Segformer"][0]

    assert (cell.ours, cell.paper, cell.difference, cell.interval) == ("57.90", "58.33", "-0.43", "55.00 to 60.50")
    assert (cell.word, cell.style, cell.of) == ("test-set noise", "test-set-noise", "run-7")


def test_a_synthetic_score_has_no_difference() -> None:
    found = verdicts(table1_segformer_miou=Ours((57.9,), "run-7", synthetic=True))

    cell = dict(paper_tables(found)[0].rows)["Segformer"][0]

    assert (cell.ours, cell.difference, cell.word) == ("57.90", "", "synthetic")


def test_every_table_has_all_its_rows_and_columns() -> None:
    shapes = [(table.roman, len(table.rows), len(table.columns)) for table in paper_tables(verdicts())]

    assert shapes == [("I", 11, 3), ("II", 10, 3), ("III", 10, 10), ("IV", 8, 3), ("V", 6, 3), ("VI", 3, 3)]
    assert all(len(cells) == len(table.columns) for table in paper_tables(verdicts()) for _, cells in table.rows)


def test_what_a_number_needs_stands_in_the_csv() -> None:
    rows = {row["key"]: row for row in csv.DictReader(as_csv(verdicts()).splitlines())}

    assert len(rows) == len(paper_numbers())
    assert rows["table1.cmx.miou"]["gpu_hours"] == "41.2"
    assert rows["table1.cmx.miou"]["verdict"] == "not run"
    assert rows["table1.cmx.miou"]["paper"] == "57.42"


def test_markdown_has_a_row_for_each_method_and_says_whose_pixels() -> None:
    text = as_markdown(verdicts(), mark="SANDBOX")

    assert "| CMX | – / 57.42 not run | – / 77.61 not run | – / 69.75 not run |" in text
    assert text.count("SANDBOX") >= 7


def test_the_first_screen_counts_every_number_once() -> None:
    found = verdicts(table2_cmx_params=Ours((66.58,), "cmx"), table1_cmx_miou=Ours((50.0,), "x"))

    assert sum(len(row.squares) for row in square_rows(found)) == len(paper_numbers())
    assert sum(number for _, _, number in legend(found)) == len(paper_numbers())
    assert [fact.number for fact in facts(found)] == ["1 of 20", "1 of 198"]


def test_bubbles_are_the_papers_and_those_that_can_be_compared_with_them() -> None:
    measured = {
        "table1_cmx_miou": Ours((56.0,), "mine"),
        "table2_cmx_flops": Ours((114.74,), "cmx"),
        "table2_cmx_params": Ours((66.58,), "cmx"),
    }

    bubbles = bubbles_of(verdicts(**measured))

    assert len([one for one in bubbles if not one.ours]) == 10
    assert [(one.name, one.miou) for one in bubbles if one.ours] == [("CMX", 56.0)]
    assert "CMX here 56.00 % at 114.7 G, 66.6 M" in bubble_figure(bubbles, mark="")
    synthetic = {**measured, "table1_cmx_miou": Ours((56.0,), "mine", synthetic=True)}
    assert not any(one.ours for one in bubbles_of(verdicts(**synthetic)))

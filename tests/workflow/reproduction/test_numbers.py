"""The paper's numbers, one by one, held against its text."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from dwplus.manifests import load_toml
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.reproduction.numbers import PaperNumber, paper_numbers, printed_digits
from support.paths import REPOSITORY

PAPER_TEXT = REPOSITORY.parent / "shared" / "paper.txt"
needs_paper = pytest.mark.skipif(
    not PAPER_TEXT.is_file(), reason="the text of the paper is not part of this repository"
)

BY_KEY = {number.key: number for number in paper_numbers()}


@pytest.fixture(scope="module")
def text() -> str:
    return PAPER_TEXT.read_text(encoding="utf-8")


def test_every_cell_of_the_tables_is_a_number_once() -> None:
    tables = Counter(number.key.split(".")[0] for number in paper_numbers() if number.key.startswith("table"))

    # rows x columns: I 11 x 3, II 10 x 3, III 10 x (9 + 1), IV 8 x 3, V 6 x 3, VI 3 x 3
    assert tables == {"table1": 33, "table2": 30, "table3": 100, "table4": 24, "table5": 18, "table6": 9}
    assert len(BY_KEY) == len(paper_numbers())


def test_a_number_knows_its_place_and_its_digits() -> None:
    cmtfnet = BY_KEY["table1.cmtfnet.miou"]

    assert (cmtfnet.printed, cmtfnet.value, cmtfnet.decimals) == ("52.80", 52.8, 2)
    assert cmtfnet.place == "Table I, CMTFNet, mIoU"
    assert cmtfnet.rounds_to(52.8049)
    assert not cmtfnet.rounds_to(52.806)
    assert BY_KEY["section5.learning_rate"].printed == "0.0005"
    assert BY_KEY["section3.training_tiles"].printed == "16893"
    assert BY_KEY["section3.classes"].printed == "9"


def test_columns_of_table_iii_are_read_in_the_order_of_dynamic_world() -> None:
    fourth = BY_KEY["table3.segformer.flooded_vegetation"]

    assert (fourth.value, fourth.metric) == (49.39, "iou.flooded_vegetation")
    assert fourth.place == "Table III, Segformer, flooded_vegetation (under the header crops)"
    assert any("header of Table III" in note for note in fourth.notes)
    assert [n.metric for n in paper_numbers() if n.row == "table3.cmx"][:9] == [f"iou.{c}" for c in DYNAMIC_WORLD.names]


@pytest.mark.parametrize("number", [n for n in paper_numbers() if n.phrase and n.row and n.kind != "gain"], ids=str)
def test_what_the_text_repeats_is_what_the_table_says(number: PaperNumber) -> None:
    table = next(n for n in paper_numbers() if not n.phrase and (n.row, n.metric) == (number.row, number.metric))

    if number.key == "section6.miou":  # 59.5 for 59.58: neither rounded nor the same
        assert (number.printed, table.printed) == ("59.5", "59.58")
        assert number.notes
    else:
        assert number.value == table.value


@pytest.mark.parametrize(
    ("key", "ours", "theirs"), [("miou", 59.58, 57.42), ("oa", 79.48, 77.61), ("f1", 71.68, 69.75)]
)
def test_gains_over_cmx_are_relative(key: str, ours: float, theirs: float) -> None:
    gain = BY_KEY[f"section6.gain_{key}"]

    assert gain.rounds_to(100 * (ours / theirs - 1))
    assert (gain.row, gain.over) == ("table1.specsar-former", "table1.cmx")


def test_every_note_is_about_numbers_that_there_are() -> None:
    for name, note in load_toml("paper")["notes"].items():
        for about in note["about"]:
            assert any(key == about or key.startswith(f"{about}.") for key in BY_KEY), f"{name}: {about}"


def test_what_does_not_add_up_is_noted() -> None:
    said = {
        "section3.s2_bands": "ten bands are named and eleven listed",
        "section6.gain_miou": "relative to CMX's score",
        "table2.cmtfnet.flops": "one operation a multiply-accumulate",
        "table2.vit-adapter.params": "fit no configuration",
        "table1.pspnet.f1": "2 IoU / (1 + IoU)",
        "table3.specsar-former.miou": "59.586, printed 59.58",
    }
    for key, words in said.items():
        assert any(words in note for note in BY_KEY[key].notes), key
    assert all("none" in load_toml("paper")["figures"][figure]["numbers"] for figure in ("3", "8"))


def test_the_digits_of_a_phrase_are_those_printed() -> None:
    assert printed_digits(26.7, "with only 26.70M parameters") == "26.70"
    assert printed_digits(16893, "16,893 patches") == "16893"
    assert printed_digits(9, "nine major categories") == "9"


# --- against the text of the paper ------------------------------------------------------------------------------------


@needs_paper
@pytest.mark.parametrize("number", [n for n in paper_numbers() if n.phrase], ids=lambda n: n.key)
def test_the_words_around_a_number_stand_in_the_paper(number: PaperNumber, text: str) -> None:
    assert _plain(number.phrase) in _plain(text)


@needs_paper
@pytest.mark.parametrize("table", [1, 2, 3, 4, 5, 6])
def test_tables_have_the_digits_of_the_paper(table: int, text: str) -> None:
    printed = _cells_of(text, table)
    ours = [number for number in paper_numbers() if number.key.startswith(f"table{table}.")]

    assert [number.printed for number in ours] == printed


@needs_paper
def test_no_number_of_the_text_is_left_out(text: str) -> None:
    # Given abstract and sections III to VI without equations, tables, citations and names that have digits.
    tokens = {token.replace(",", "") for token in re.findall(r"\d[\d,]*(?:\.\d+)?", _prose(text))}

    known = {number.printed for number in paper_numbers() if number.phrase}
    numerators = {"1"}  # of 1/4, 1/8, ...: a stride each
    assert {token.rstrip(".") for token in tokens} - known - numerators == set()


def _plain(text: str) -> str:
    return re.sub(r"[\s*]+", " ", text)


def _cells_of(text: str, table: int) -> list[str]:
    """Numbers with two decimals in the rows of a table, in order."""
    roman = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}[table]
    after = re.split(rf"^TABLE {roman}  $", text, flags=re.MULTILINE)[1]
    rows: list[str] = []
    for line in after.splitlines()[1:]:
        if "\t" in line:
            rows.append(line)
        elif rows:
            break
    return [cell for row in rows for cell in re.findall(r"\d+\.\d\d(?=</b>|\t|$)", row)]


def _prose(text: str) -> str:
    abstract = text[text.index("**Abstract**") : text.index("The code will be available")]
    body = text[text.index("## III.") : text.index("## VII.")]
    body = re.sub(r"\$\$.*?\$\$", "", body, flags=re.DOTALL)
    kept = [line for line in (abstract + body).splitlines() if "\t" not in line and not line.startswith(("#", "TABLE"))]
    names = (
        r"\[\d+\]|Fig\. \d|Sentinel-\d|Level-2A|L2A|\bB\d+A?\b|RTX 2080 Ti|F_?1|km<sup>2</sup>|DeepLabV3|\d\) |_1\b|"
        r"\\text\{MLP\}_\d|SAR_1|Spec_1|N\^2"
    )
    return re.sub(names, "", "\n".join(kept))

"""Waivers: what they cover, until when, and what they must say."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import Finding, read_document, write_findings
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.dataset.waivers import WAIVERS_FILE, Waiver, adopt_waivers, check_waivers, effective, parse_waivers
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.validation.validate import validate
from support.fixture_types import LayOut
from support.flips import answers_after_flips

TODAY = date(2026, 6, 1)
STUCK = Finding("dw_9.0_45.0-20190701", "stuck-band", "error", "bands B11 hold one value only")
OF_SET = Finding("", "split-distance", "warning", "3 of 40 test tiles lie within 10 km of a train tile")

WORDS = """
[[waiver]]
rule = "stuck-band"
tile = "dw_9.0*"
reason = "salt lake, looked at by hand"
until = 2026-06-30

[[waiver]]
rule = "split-distance"
tile = ""
reason = "as released"
"""


def test_a_waiver_takes_its_rule_and_its_tiles_out_and_nothing_else() -> None:
    waivers = parse_waivers(WORDS, "waivers.toml")
    other = Finding("dw_12.0_45.0-20190701", "stuck-band", "error", "bands B11 hold one value only")
    same_tile = Finding(STUCK.tile, "codes", "error", "label holds codes [11]")

    assert waivers[0] == Waiver("stuck-band", "dw_9.0*", "salt lake, looked at by hand", date(2026, 6, 30))
    assert effective((STUCK, other, same_tile, OF_SET), waivers, today=TODAY) == (other, same_tile)


@pytest.mark.parametrize(("day", "counts"), [(date(2026, 6, 30), False), (date(2026, 7, 1), True)])
def test_a_waiver_ends_after_its_last_day(day: date, counts: bool) -> None:
    assert bool(effective((STUCK,), parse_waivers(WORDS, "waivers.toml"), today=day)) is counts


def test_a_pattern_of_tiles_is_not_about_the_set() -> None:
    assert effective((OF_SET,), (Waiver("split-distance", "*", "all"),), today=TODAY) == (OF_SET,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[waiver]\n", "is not TOML"),
        ('[waivers]\nrule = "x"', r"tables called \[\[waiver\]\]"),
        ('[[waiver]]\nrule = "codes"\ntile = "a"', "reason is missing"),
        ('[[waiver]]\nrule = "codes"\ntile = "a"\nreason = " "', "reason is missing"),
        ('[[waiver]]\nrule = "codes"\nreason = "r"', "tile is missing"),
        ('[[waiver]]\nrule = "codes"\ntile = "a"\nreason = "r"\nuntill = 2026-01-01', "unknown key untill"),
        ('[[waiver]]\nrule = "codes"\ntile = "a"\nreason = "r"\nuntil = "soon"', "write a day without quotes"),
    ],
)
def test_what_is_no_waiver_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_waivers(text, "waivers.toml")


def test_rules_and_tiles_that_do_not_exist_are_errors() -> None:
    known = {"rules": {"codes"}, "tiles": {"dw_9.0_45.0-20190701"}}
    check_waivers([Waiver("codes", "dw_9*", "r"), Waiver("codes", "", "r")], **known)

    with pytest.raises(UsageError, match="no rule 'kodes'; rules are codes"):
        check_waivers([Waiver("kodes", "", "r")], **known)
    with pytest.raises(UsageError, match="no tile 'dw_8"):
        check_waivers([Waiver("codes", "dw_8*", "r")], **known)


def test_a_given_file_is_copied_again_and_again_but_never_over_one_written_by_hand(tmp_path: Path) -> None:
    root, given = DataRoot.at(tmp_path / "root"), tmp_path / "ours.toml"
    root.folder.mkdir()
    given.write_text(WORDS)
    adopt_waivers(root.folder, given)
    given.write_text(WORDS.replace("salt lake", "salt pan"))
    adopt_waivers(root.folder, given)
    assert root.waivers()[0].reason.startswith("salt pan")

    (root.folder / WAIVERS_FILE).write_text("# mine\n" + WORDS)
    with pytest.raises(UsageError, match="written by hand"):
        adopt_waivers(root.folder, given)


def test_training_takes_tiles_whose_errors_are_waived(data_root: LayOut) -> None:
    # Given a training tile whose shard cannot be read.
    root = data_root(train=4, test=1)
    manifest = root.manifest()
    bad = manifest.of_split("train", "strict")[0].tile
    root.shard(bad).write_bytes(b"not a raster")
    validate(manifest.rows, root=root, run=in_process)
    assert bad not in [row.tile for row in root.usable("train", "strict")]

    (root.folder / WAIVERS_FILE).write_text(f'[[waiver]]\nrule = "readable"\ntile = "{bad.id}"\nreason = "to see it"\n')

    assert bad in [row.tile for row in root.usable("train", "strict")]


def said_of(root: DataRoot) -> tuple[object, object, object]:
    """Which test tiles are used, which are left out, and which are used in spite of an error: all that is said."""
    dataset = Dataset(root, split="test", trained_here=False)
    return [row.tile.id for row in dataset.rows], dataset.left_out, dataset.waived


def with_a_waived_test_tile(root: DataRoot) -> str:
    """Two test tiles have an error, one of them is waived; the words of that waiver."""
    validate(root.manifest().rows, root=root, run=in_process)
    first, second, _ = (row.tile.id for row in root.manifest().of_split("test", "strict"))
    errors = tuple(Finding(tile, "s2-range", "error", "too bright") for tile in (first, second))
    write_findings(root.folder, replace(read_document(root.folder), findings=errors))
    return f'[[waiver]]\nrule = "s2-range"\ntile = "{first}"\nreason = "salt"\nuntil = 2999-06-30\n'


def test_no_flipped_byte_of_copied_waivers_is_accepted_in_silence(data_root: LayOut, tmp_path: Path) -> None:
    root = data_root(train=1, test=3)
    (tmp_path / "given.toml").write_text(with_a_waived_test_tile(root))
    adopt_waivers(root.folder, tmp_path / "given.toml")
    whole = root.waivers()

    answers = answers_after_flips(root.waivers_file, root.waivers)

    assert all(found == whole for found in answers.accepted)
    assert len(answers.refused) > 25
    assert all(str(root.waivers_file) in said for said in answers.refused)


def test_no_flipped_byte_of_waivers_written_by_hand_changes_the_tiles_in_silence(data_root: LayOut) -> None:
    # Such a file has no checksum: its writer may change it. What follows from it is said.
    root = data_root(train=1, test=3)
    root.waivers_file.write_text(with_a_waived_test_tile(root))
    before = said_of(root)
    assert len(before[2]) == 1

    answers = answers_after_flips(root.waivers_file, lambda: said_of(root))

    assert all(said[0] == before[0] or said[1:] != before[1:] for said in answers.accepted)
    assert len(answers.refused) > 5
    assert all(str(root.waivers_file) in said for said in answers.refused)


@pytest.mark.parametrize("text", ["waiver = [1]", "waiver = ['x']", "waiver = [[]]", "waiver = " + "[" * 5000,
                                  "waiver = [{rule = 1, tile = 'a', reason = 'b'}]", "a = " + "9" * 5000])  # fmt: skip
def test_waivers_of_another_shape_are_one_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / WAIVERS_FILE).write_text(text)

    with pytest.raises(UsageError, match=r"waivers\.toml") as caught:
        DataRoot.at(tmp_path).waivers()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600

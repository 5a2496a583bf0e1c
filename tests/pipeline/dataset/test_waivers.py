"""Waivers: what they cover, until when, and what they must say."""

from datetime import date
from pathlib import Path

import pytest
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import Finding
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.waivers import WAIVERS_FILE, Waiver, adopt_waivers, check_waivers, effective, parse_waivers
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.validation.validate import validate
from support.fixture_types import LayOut

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

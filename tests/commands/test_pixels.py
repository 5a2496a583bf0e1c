"""``dwplus pixels add``, and what build, retry and train do with what it leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.spec.bands import S2_BANDS
from support.fixture_types import Run
from support.own_tiles import lay_out_labels, own_tile, s2_values, write_raster, write_s1, write_s2

S1_OPTIONS = ("--s1-calibration", "sigma0", "--s1-pass", "ascending")


@pytest.fixture
def mine(tmp_path: Path) -> DataRoot:
    """Four labels and a stack of Sentinel-2 and of Sentinel-1 for each of them, below ``tmp_path``."""
    tiles = [own_tile(x=500_000.0 + 1_000 * n) for n in range(4)]
    for number, tile in enumerate(tiles):
        write_s2(tmp_path / "s2" / f"s2_{number}_20190703.tif", tile, seed=number)
        write_s1(tmp_path / "s1" / f"s1_{number}_20190705.tif", tile, seed=number)
    return lay_out_labels(tmp_path / "mine", tiles)


def test_pixels_are_added_and_a_build_contacts_nothing(
    dwplus_unconfigured: Run, mine: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dwplus_unconfigured
    code, out, err = run("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")
    assert (code, err) == (0, "")
    assert "     4 done\nmine: 4 of 4 tiles complete\nnext: dwplus build --data mine" in out
    assert run("pixels", "add", "s1", "--as", "s1", *S1_OPTIONS, "--data", "mine", "-q")[0] == 0

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a server was contacted")

    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.setattr("dwplus.local_ee.launch.LocalEarthEngine.__enter__", no_network)
    code, out, _ = run("build", "--data", "mine", "--workers", "1", "-q", "--json")

    document = json.loads(out)
    assert code == 0
    assert (document["source"], document["states"], document["errors"]) == (["user:own"], {"done": 4}, 0)
    assert mine.statistics("strict").tiles == 2


def test_added_pixels_are_removed_by_the_folder_they_came_from(dwplus: Run, mine: DataRoot) -> None:
    assert dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")[0] == 0
    assert dwplus("pixels", "add", "s1", "--as", "s1", *S1_OPTIONS, "--data", "mine", "-q")[0] == 0

    code, out, err = dwplus("pixels", "remove", "s1", "--data", "mine")

    assert (code, err) == (0, "")
    assert out.splitlines()[-3:] == ["     4 done", "mine: 4 tiles lost pixels", "next: dwplus build --data mine"]
    assert not mine.has_s1()
    code, out, _ = dwplus("pixels", "remove", "s2", "--data", "mine", "--json")
    assert (json.loads(out)["tiles"], json.loads(out)["states"]) == (4, {"no_pixels": 4})
    code, _, err = dwplus("pixels", "remove", "s2", "--data", "mine")
    assert (code, err.strip()) == (2, "dwplus: mine holds no pixels that were added; there is nothing to remove")


def test_the_result_is_printed_as_json(dwplus: Run, mine: DataRoot, tmp_path: Path) -> None:
    write_raster(tmp_path / "s2" / "map.tif", np.ones((1, 4, 4), np.uint8), own_tile().affine, names=("lulc",))

    code, out, _ = dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q", "--json", "--source", "user:a")

    assert code == 0
    assert json.loads(out) == {
        "root": "mine",
        "files": 4,
        "states": {"done": 4},
        "dropped": {"map.tif": "holds lulc alone"},
        "accepted": [],
        "absent": [],
    }


def test_labels_among_pixels_are_passed_over_in_one_line(dwplus: Run, mine: DataRoot, tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "s2" / f"chip{number}" / "label.tif"
        write_raster(path, np.ones((1, 4, 4), np.uint8), own_tile().affine, names=("lulc",))

    out = dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")[1]

    assert [line for line in out.splitlines() if "not used" in line] == [
        "not used: 4 files (label.tif, chip1/label.tif, chip2/label.tif, ...): the first holds lulc alone",
        "each of the 4 files that are not used stands in mine/own/pixels.json",
        "mine: 4 of 4 tiles complete; 4 files not used",
    ]


def test_a_status_without_any_known_biome_has_no_table_of_biomes(dwplus: Run, mine: DataRoot) -> None:
    assert dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")[0] == 0

    plain, asked = dwplus("status", "--data", "mine")[1], dwplus("status", "--by", "biome", "--data", "mine")[1]

    assert ("biome" in plain, "region" in plain, "split" in plain) == (False, True, True)
    assert "0 not known" in asked
    assert json.loads(dwplus("status", "--json", "--data", "mine")[1])["groups"]["biome"][0]["tiles"] == 4


def test_bands_by_number_dates_and_offsets_come_from_tables(dwplus: Run, tmp_path: Path) -> None:
    tile = own_tile()
    lay_out_labels(tmp_path / "mine", [tile])
    write_raster(tmp_path / "chips" / "a" / "stack.tif", s2_values(32, 32) + np.uint16(1000), tile.affine)
    lines = [f"{band} = {number}" for number, band in enumerate(S2_BANDS, start=1)]
    (tmp_path / "bands.toml").write_text("\n".join(["[bands]", *lines]))
    (tmp_path / "chips.csv").write_text("chip,date,offset\na,20190702,1000\n")

    code, _, err = dwplus(
        "pixels", "add", "chips", "--as", "s2", "--data", "mine", "--bands", "bands.toml", "--table", "chips.csv", "-q"
    )

    assert (code, err) == (0, "")
    options = DataRoot.at(tmp_path / "mine").added_pixels().inputs[0].options  # type: ignore[union-attr]
    assert options["bands"].startswith("sha256 ")
    assert options["table"].startswith("sha256 ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--as", "s1"), "Sentinel-1 has to say how it was made: --s1-calibration"),
        (("--as", "s1", *S1_OPTIONS, "--s1-mean", "dB"), "has both --s1-mean and --s1-scenes"),
        (("--as", "s2", "--s1-pass", "both"), "--s1-pass is about Sentinel-1; say --as s1 or --as both"),
        (("--as", "s2", "--date", "July"), "--date July: write a day as 2019-07-01"),
        (("--as", "s2", "--date", "2019-07-01", "--table", "t.csv"), "--date says the day of all files"),
        (("--as", "s2", "--source", "user:a b"), "'user:a b' names no source of added pixels"),
        (("--as", "s2", "--table", "none.csv"), "--table none.csv cannot be read: No such file"),
    ],
)
def test_options_that_cannot_be_meant_end_with_one_line(
    dwplus: Run, mine: DataRoot, options: tuple[str, ...], message: str
) -> None:
    code, out, err = dwplus("pixels", "add", "s2", "--data", "mine", *options)

    assert code in (1, 2)
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_tiles_whose_files_are_bad_end_with_exit_code_3(dwplus: Run, mine: DataRoot, tmp_path: Path) -> None:
    stuck = s2_values(32, 32)
    stuck[3] = 777
    write_raster(tmp_path / "s2" / "s2_1_20190703.tif", stuck, own_tile(x=501_000.0).affine, names=S2_BANDS)

    code, out, _ = dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")

    assert code == 3
    assert "     1 bad_pixels" in out
    assert "band B4 holds one value only" in mine.failures_file.read_text()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("build", "--source", "sandbox"), "holds added pixels; --source sandbox would mix them with others"),
        (("build", "--limit", "3"), "--limit is about requests, and nothing is requested where pixels were added"),
        (("retry",), "nothing is requested where pixels were added (mine); add more with 'dwplus pixels add'"),
    ],
)
def test_nothing_is_requested_where_pixels_were_added(
    dwplus_unconfigured: Run, mine: DataRoot, command: tuple[str, ...], message: str
) -> None:
    dwplus_unconfigured("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")

    code, _, err = dwplus_unconfigured(*command, "--data", "mine")

    assert code == 2
    assert message in err


def test_own_labels_take_synthetic_pixels_only_where_somebody_types_so(
    dwplus_unconfigured: Run, mine: DataRoot
) -> None:
    code, _, err = dwplus_unconfigured("build", "--data", "mine")

    assert code == 2
    assert "mine holds labels of your own, and no Earth Engine project is configured" in err
    assert not mine.ledger_file.exists()


def test_own_labels_with_synthetic_pixels_are_not_trained_on(dwplus: Run, mine: DataRoot) -> None:
    with mine.open_ledger() as ledger:
        for row in mine.manifest().rows:
            ledger.append(LedgerRow(row.tile.id, "done", source="SANDBOX", recipe="x"))

    code, _, err = dwplus("train", "--data", "mine", "--profile", "sandbox")

    assert code == 2
    assert "mine holds labels of your own and synthetic pixels, which do not belong together" in err


def test_a_dry_run_says_that_nothing_is_requested(dwplus: Run, mine: DataRoot) -> None:
    dwplus("pixels", "add", "s2", "--as", "s2", "--data", "mine", "-q")

    code, out, _ = dwplus("build", "--dry-run", "--data", "mine")

    assert code == 0
    assert out == (
        "mine: pixels were added from files; a build validates and computes statistics, nothing is requested\n"
    )

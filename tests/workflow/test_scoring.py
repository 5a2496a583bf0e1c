"""Scoring on data roots: what is left out is said, runs may lie elsewhere, another data set is allowed and named."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.model.config import to_mapping
from dwplus.model.registry import build, configure
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DwplusError
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.workflow.scoring import current_scores
from support.fixture_types import LayOut

MODEL = "specsar-former-small"


def ready(root: DataRoot) -> DataRoot:
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return root


def make_run(root: DataRoot, path: Path) -> Path:
    """A complete run of a network that was never trained, with the statistics of a data root."""
    folder = RunFolder(path)
    card = DataCard.of(Dataset(root, split="train"))
    config = configure(MODEL, len(card.primary), len(card.auxiliary))
    folder.write_config(RunConfig("0.1.0", MODEL, to_mapping(config), {}, card))
    folder.write_weights("model.safetensors", build(MODEL, len(card.primary), len(card.auxiliary)).state_dict())
    return path


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=4, test=4, size=32)


def score(root: DataRoot, run: Path | str, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["score", str(run), "--data", str(root.folder), *options])
    # The entry point prints an error of ours as one line and exits with its code.
    code = done.exception.exit_code if isinstance(done.exception, DwplusError) else done.exit_code
    return int(code), done.output + done.stderr + str(done.exception or "")


def test_test_tiles_that_are_left_out_are_counted_with_the_reason_and_an_exit_code(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")
    assert score(root, run)[0] == 0
    tile = root.usable("test", "strict")[0].tile.id
    with root.open_ledger() as ledger:
        right = ledger.rows[tile].sha256
        wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
        ledger.append(replace(ledger.rows[tile], sha256=wrong))

    code, said = score(root, run)

    assert "1 of 4 test tiles left out because" in said
    assert tile in said
    assert code == 3
    assert json.loads((run / "scores.json").read_text())["tiles"] == 3


def test_a_damaged_line_of_the_ledger_leaves_its_tile_out_and_says_so(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")
    tile = root.usable("test", "strict")[0].tile.id
    lines = root.ledger_file.read_text().splitlines()
    place = max(number for number, line in enumerate(lines) if tile in line)
    lines[place] = lines[place].replace('"state": "done"', '"state": "dome"')
    root.ledger_file.write_text("\n".join(lines) + "\n")

    code, said = score(root, run)

    assert "1 of 4 test tiles left out because their lines in the ledger are damaged" in said
    assert code == 3


def test_runs_may_lie_in_a_folder_of_their_own(root: DataRoot, tmp_path: Path) -> None:
    make_run(root, tmp_path / "my-runs" / "one")
    before = {path for path in root.folder.rglob("*") if path.is_file()}

    code, said = score(root, "one", "--runs", str(tmp_path / "my-runs"))

    assert code == 0, said
    assert (tmp_path / "my-runs" / "one" / "scores.json").is_file()
    assert {path for path in root.folder.rglob("*") if path.is_file()} == before


def test_a_run_of_a_folder_of_its_own_is_meant_where_both_have_one_of_its_name(root: DataRoot, tmp_path: Path) -> None:
    shared = make_run(root, root.runs / "one")
    mine = make_run(root, tmp_path / "my-runs" / "one")

    code, said = score(root, "runs/one", "--runs", str(mine.parent))

    assert code == 0, said
    assert (mine / "scores.json").is_file()
    assert not (shared / "scores.json").exists()


def test_the_report_of_runs_in_a_folder_of_their_own_lies_there(root: DataRoot, tmp_path: Path) -> None:
    mine = DataRoot(root.folder, root.pixels, tmp_path / "my-runs")

    assert mine.report_page == tmp_path / "my-runs" / "report.html"
    assert root.report_page == root.folder / "report" / "index.html"
    assert mine.command("dwplus score runs/one") == f"dwplus score runs/one --runs {tmp_path / 'my-runs'}"
    assert root.command("dwplus score runs/one") == "dwplus score runs/one"


def test_a_run_is_scored_on_another_data_set_which_is_named(root: DataRoot, data_root: LayOut, tmp_path: Path) -> None:
    # Given a run of one data set, and another one that has test tiles only and therefore no statistics.
    run = make_run(root, tmp_path / "elsewhere" / "one")
    shutil.move(root.folder, tmp_path / "first")
    other = data_root(train=0, test=3, size=32)
    ready(other)
    assert not other.statistics_file("strict").exists()

    code, said = score(other, run)

    assert code == 0, said
    assert "is another data set than one was trained on" in said
    (scores,) = run.glob("scores-on-*.json")
    assert json.loads(scores.read_text())["tiles"] == 3


def test_a_run_below_its_own_data_root_is_refused_after_the_training_tiles_changed(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")
    path = run / "config.json"
    document = json.loads(path.read_text())
    document["data"]["shards_hash"] = "another"
    RunFolder(run).write_json("config.json", document)

    code, said = score(root, run)

    assert code == 1
    assert "the training split has changed" in said


def damaged_ledgers() -> Iterator[Any]:
    """Each damage with each command; ``validate`` starts processes, and is slow where another damage says the same."""
    commands = ((["validate", "-q", "--workers", "1"], 3), (["normalise", "-q"], 3), (["status"], 0))
    for damage in ("half", "its last line", "gone"):
        for command, code in (*commands, (["status", "--json"], 0)):
            slow = (damage, command[0]) == ("its last line", "validate")
            yield pytest.param(damage, command, code, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize(("damage", "command", "code"), list(damaged_ledgers()))
def test_a_ledger_that_lost_lines_is_said_by_every_command_that_counts_tiles(
    root: DataRoot, damage: str, command: list[str], code: int
) -> None:
    content = root.ledger_file.read_bytes()
    lines = content.splitlines(keepends=True)
    rest = {"half": b"".join(lines[: len(lines) // 2]), "its last line": b"".join(lines[:-1]), "gone": b""}[damage]
    root.ledger_file.write_bytes(rest)
    lost = len(lines) - len(rest.splitlines())

    done = CliRunner().invoke(cli, [*command, "--data", str(root.folder)])

    found = done.exception.exit_code if isinstance(done.exception, DwplusError) else done.exit_code
    said = done.output + str(done.exception or "")
    assert int(found) == code
    assert f"{lost} shards are on disk and not in it" in said
    assert "Traceback" not in said


def test_sentinel_1_that_was_made_in_another_way_is_refused_or_accepted_and_recorded(
    root: DataRoot, tmp_path: Path
) -> None:
    # Given a run on means in dB, and the same tiles with means of power.
    write_recipe(root, Recipe())
    run = make_run(root, tmp_path / "runs" / "one")
    other = DataRoot.at(shutil.copytree(root.folder, tmp_path / "other"))
    write_recipe(other, Recipe(s1_mean="linear"))

    # When it is scored on both.
    assert score(root, run)[0] == 0
    code, printed = score(other, run)
    accepted, _ = score(other, run, "--accept", "s1")

    # Then the other Sentinel-1 has to be accepted, and stands in the scores.
    difference = (
        "sigma0, mean of all scenes in linear, both passes instead of sigma0, mean of all scenes in dB, both passes"
    )
    assert (code, accepted) == (2, 0)
    assert difference in printed
    assert json.loads((run / "scores.json").read_text())["accepted"] == [f"s1: {difference}"]


def test_composites_are_refused_or_accepted_where_single_scenes_were_trained_on(root: DataRoot, tmp_path: Path) -> None:
    run = make_run(root, tmp_path / "runs" / "one")
    folder = RunFolder(run)
    config = folder.read_config()
    assert "composite" not in config.to_dict()["data"]
    folder.write_config(replace(config, data=replace(config.data, composite="median")))

    code, printed = score(root, run)
    accepted, _ = score(root, run, "--accept", "s2")

    difference = "single scenes of Sentinel-2, not median composites"
    assert (code, accepted) == (2, 0)
    assert f"another Sentinel-2: the data set has {difference}" in printed
    assert json.loads((run / "scores.json").read_text())["accepted"] == [f"s2: {difference}"]


def write_recipe(root: DataRoot, recipe: Recipe) -> None:
    root.recipe_file.write_text(json.dumps(asdict(recipe)))


def test_a_run_that_reads_no_sentinel_1_is_not_asked_about_it(root: DataRoot) -> None:
    write_recipe(root, Recipe())

    assert DataCard.of(Dataset(root, split="train", auxiliary=())).radars == ()
    assert len(DataCard.of(Dataset(root, split="train")).radars) == 1


def test_a_run_of_an_earlier_version_is_resumed_without_what_it_does_not_record(root: DataRoot, tmp_path: Path) -> None:
    earlier = RunFolder(make_run(root, tmp_path / "one")).read_config()
    write_recipe(root, Recipe())
    now = replace(earlier, data=DataCard.of(Dataset(root, split="train")))

    assert now.resuming(earlier).data.radars == earlier.data.radars == ()


def test_a_run_is_scored_without_an_input_beside_its_own_scores(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")
    assert score(root, run)[0] == 0
    before = (run / "scores.json").read_bytes()

    code, text = score(root, run, "--drop", "auxiliary", "--drop", "primary:0")
    assert (code, "--drop primary:0: write auxiliary, primary" in text) == (2, True)
    code, text = score(root, run, "--drop", "auxiliary:0.5")

    assert code == 0
    assert "one was trained without --drop-auxiliary and --drop-primary: what is lost is read as 0" in text
    assert "4 tiles, without auxiliary in 50% of the pixels [SANDBOX]" in text
    assert json.loads((run / "scores-drop-auxiliary-0.5.json").read_text())["dropped"] == {"auxiliary": 0.5, "seed": 0}
    assert (run / "scores.json").read_bytes() == before


def test_parts_are_scored_without_running_the_network_again(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(root, root.runs / "one")
    code, out = score(root, run, "--group", "region", "--json")  # never scored: the network runs
    assert code == 0
    assert (run / "scores.json").exists()
    monkeypatch.setattr("dwplus.workflow.scoring.score", None)

    code, out = score(root, run, "--group", "region", "--json", "--quiet")
    table = score(root, run, "--group", "region", "--quiet")[1]
    lines = score(root, run, "--csv", "--quiet")[1].splitlines()

    document = json.loads(out)
    assert code == 0
    assert sum(row["tiles"] for row in document["rows"]) == 4
    assert "eastern-hemisphere" in table or "western-hemisphere" in table
    assert lines[0].startswith("class,iou,f1,precision,recall,pixels,iou_low,iou_high")
    assert len(lines) == 1 + 9


def test_scores_of_other_weights_are_not_taken_for_current_ones(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")
    assert score(root, run)[0] == 0
    assert current_scores(root, run) is not None

    make_run(root, run)  # other random weights under the same name

    assert current_scores(root, run) is None


def test_the_own_mask_counts_pixels_that_other_sensors_lack(root: DataRoot) -> None:
    """Pixels count where the label and Sentinel-2 are valid; those scores are in a file of their own."""
    run = root.runs / "s2"
    folder = RunFolder(run)
    card = DataCard.of(Dataset(root, split="train", auxiliary=()))
    config = configure("segformer-small", len(card.primary), 0)
    folder.write_config(RunConfig("0.1.0", "segformer-small", to_mapping(config), {}, card))
    folder.write_weights("model.safetensors", build("segformer-small", len(card.primary), 0).state_dict())

    assert score(root, run)[0] == 0
    assert score(root, run, "--mask", "own")[0] == 0

    whole, own = (json.loads((run / name).read_text()) for name in ("scores.json", "scores-own-mask.json"))
    assert (whole["mask"]["kind"], own["mask"]["kind"]) == ("dataset", "own")
    assert own["pixels"] >= whole["pixels"]


def test_every_tile_is_kept_with_what_is_known_of_it(root: DataRoot) -> None:
    run = make_run(root, root.runs / "one")

    score(root, run)

    _, table = current_scores(root, run) or (None, None)
    assert table is not None
    rows = {row.tile.id: row for row in root.usable("test", "strict")}
    for record in table.records:
        assert (record.labeler, record.biome, record.date) == (
            rows[record.id].labeler,
            rows[record.id].tile.biome,
            rows[record.id].tile.date,
        )
        assert record.km >= 0  # from the training tiles of the data root: this run names none of its own

"""Figures of runs and data: losses, curves, classes by biome, the map of tiles."""

import numpy as np
import pytest
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.pages import svg
from dwplus.workflow.pages.sections.biomes import bars_of, ink_on
from dwplus.workflow.pages.sections.curves import curve_figures
from dwplus.workflow.pages.sections.dataset import coast_path, world_map
from dwplus.workflow.pages.sections.details import matrix_of
from dwplus.workflow.pages.sections.losses import loss_figure, loss_sets
from support.runs import make_run


def with_loss(name: str, loss: str, hits: int, seed: int = 0) -> object:
    return make_run(name, hits=hits, train={"loss": loss, "seed": seed})


def test_runs_that_differ_in_their_loss_alone_are_one_figure() -> None:
    # Given focal with two seeds, of 80 % and 60 % overall accuracy; ce; and another network with bce.
    runs = [with_loss("f0", "focal", 40), with_loss("f1", "focal", 30, 1), with_loss("c", "ce", 25)]
    other = make_run("b", "segformer-small", train={"loss": "bce"})

    (found,) = loss_sets([*runs, other])

    assert [(row.title, row.runs) for row in found.rows] == [("L_Focal", ("f0", "f1")), ("L_CE", ("c",))]
    oa = found.columns.index("OA")
    assert [row.values[oa] for row in found.rows] == pytest.approx([70, 50])
    assert "OA 70.0" in loss_figure(found, mark="SANDBOX")
    assert loss_sets([other, runs[0]]) == []


def test_curves_say_where_they_begin_and_end() -> None:
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 0.5, "miou": 0.4}]

    loss, miou = curve_figures({"one <b>": rows}, mark="")

    assert "one &lt;b&gt; from 2 to 0.5 in 2 epochs" in loss
    assert "from 40 to 40 in 2 epochs" in miou
    assert curve_figures({}, mark="") == []


def test_a_bar_has_the_shares_of_a_biome() -> None:
    counts = np.zeros(9, np.int64)
    counts[[0, 6]] = 970, 30

    (bar,) = bars_of({"1 forest": counts, "2 empty": np.zeros(9, np.int64)}, DYNAMIC_WORLD)

    assert [(piece.title, piece.share, piece.number) for piece in bar.pieces] == [
        ("Water", pytest.approx(0.97), "1"),
        ("Built area", pytest.approx(0.03), ""),
    ]
    assert bar.said == "Water 97.0%, Built area 3.0%"


def test_numbers_on_colours_can_be_read() -> None:
    assert (ink_on("ffffff"), ink_on("000000"), ink_on("397d49")) == ("#000", "#fff", "#fff")


def test_the_map_has_coasts_and_a_mark_for_each_tile() -> None:
    drawn = world_map({"train": [(10.0, 50.0), (-70.0, -10.0)], "test": [(140.0, -30.0)]}, mark="SANDBOX")

    assert "Map of the tiles: 2 train, 1 test" in drawn
    assert drawn.count('class="mark ') == 3
    assert "SANDBOX" in drawn
    # Tarifa is the southern end of Europe: the coast passes within a degree of it.
    frame = svg.Frame(svg.Scale(-180, 180, -180, 180), svg.Scale(-90, 90, -90, 90))
    points = [point.split() for line in coast_path(frame).split("M")[1:] for point in line.split("L")]
    assert min(abs(float(x) + 5.6) + abs(float(y) - 36.0) for x, y in points) < 1.5


def test_a_world_of_tiles_is_a_small_drawing() -> None:
    rng = np.random.default_rng(0)
    points = list(zip(rng.uniform(-180, 180, 17_000).tolist(), rng.uniform(-55, 75, 17_000).tolist(), strict=True))

    assert len(world_map({"train": points}, mark="")) < 400_000


def test_a_row_of_a_matrix_has_the_shares_of_its_pixels() -> None:
    matrix = matrix_of(make_run("a", hits=40), DYNAMIC_WORLD)

    assert [one.share for one in matrix.rows[0][1]][:3] == pytest.approx([0.8, 0.2, 0.0])
    assert matrix.rows[5][1][0].share is None

"""How Sentinel-1 was made, and what differs between two data sets."""

from dwplus.pipeline.spec.radar import Radar, radar_differences, radar_of
from dwplus.pipeline.spec.recipe import Recipe

YEAR = radar_of(Recipe())
ONE_DATE = Radar("gamma0", "none", 1, ("ASCENDING",))


def test_the_recipe_of_earth_engine_is_a_mean_of_sigma0() -> None:
    assert str(YEAR) == "sigma0, mean of all scenes in dB, both passes"
    assert str(radar_of(Recipe(s1_mean="linear", s1_passes=("DESCENDING",), s1_max_scenes=12))) == (
        "sigma0, mean of 12 scenes in linear, descending pass"
    )


def test_passes_are_compared_whatever_their_order() -> None:
    assert radar_of(Recipe(s1_passes=("DESCENDING", "ASCENDING"))) == YEAR


def test_what_the_training_data_did_not_hold_differs() -> None:
    assert radar_differences((YEAR,), (YEAR,)) == ()
    assert radar_differences((YEAR, ONE_DATE), (ONE_DATE,)) == ()
    assert radar_differences((YEAR,), (ONE_DATE,)) == (
        "gamma0, one date, ascending pass instead of sigma0, mean of all scenes in dB, both passes",
    )


def test_a_run_that_does_not_record_it_is_not_compared() -> None:
    assert radar_differences((), (ONE_DATE,)) == ()

"""Recipes: what is written down, and the hash that it has."""

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.spec.recipe import Recipe, edge_text, parse_edge, recipe_from, with_border_noise


def test_recipes_without_masked_edges_have_the_hash_and_document_of_older_versions() -> None:
    linear = Recipe(s1_mean="linear", s1_passes=("ASCENDING",), s1_max_scenes=12)

    assert Recipe().hash == "9866a72da698"
    assert linear.hash == "5d96d93c3556"
    assert list(Recipe().document) == ["half_window_days", "s1_mean", "s1_passes", "s1_max_scenes"]


def test_a_recipe_with_masked_edges_comes_back_from_its_document() -> None:
    recipe = Recipe(s1_edge_m=2000)

    assert recipe_from({**recipe.document, "s1_passes": ["ASCENDING", "DESCENDING"]}) == recipe
    assert recipe.hash not in (Recipe().hash, Recipe(s1_edge_m=1999).hash)


@pytest.mark.parametrize("edge", [0, -1, 50_001, 2000.0, True, "2km"])
def test_a_recipe_holds_whole_metres_within_the_domain(edge: object) -> None:
    with pytest.raises(DataError, match="recipe"):
        recipe_from({"s1_edge_m": edge})


def test_a_width_is_written_with_its_unit() -> None:
    widths = {"2km": 2000, "2000m": 2000, "2.5km": 2500, " 1500 m ": 1500, "0.001km": 1, "50km": 50_000}

    assert {text: parse_edge(text) for text in widths} == widths
    assert [edge_text(metres) for metres in (2000, 1500, 50_000)] == ["2km", "1500m", "50km"]


@pytest.mark.parametrize("text", ["2", "km", "-2km", "0m", "50.1km", "1.5m", "2 miles", "2e3m", "", "nankm", "9" * 99])
def test_anything_else_is_no_width(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no whole number of metres from 1 to 50,000 with its unit"):
        parse_edge(text)


def test_scenes_before_march_2018_are_told_by_their_names() -> None:
    early, late = (f"S1B_IW_GRDH_1SDV_{day}_{day}_009825_011C2B_1234" for day in ("20180228T235959", "20180301T000000"))

    assert with_border_noise([late, early, "s", ""]) == (early,)

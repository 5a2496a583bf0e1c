"""What a map shows at first, and what is said without geemap."""

import sys

import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.notebook.canvas import centre_and_zoom, geemap_or_refuse


def test_the_whole_world_is_seen_at_zoom_1() -> None:
    centre, zoom = centre_and_zoom((-180, -85, 180, 85))

    assert centre == pytest.approx((0, 0), abs=1e-9)
    assert zoom == 1  # 512 px; at zoom 2 it has 1,024


def test_a_tile_fills_the_map_without_leaving_it() -> None:
    """5.1 km on the equator are 0.0458 degrees: 267 px at zoom 13, 534 at 14, and there is room for 450 rows."""
    centre, zoom = centre_and_zoom((9.0, -0.0229, 9.0458, 0.0229))

    assert centre == pytest.approx((0, 9.0229))
    assert zoom == 13


def test_a_point_is_not_shown_closer_than_its_pixels() -> None:
    assert centre_and_zoom((9.0, 45.0, 9.0, 45.0))[1] == 15


def test_without_geemap_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geemap", None)  # what Python itself takes for a package that is not there

    with pytest.raises(UsageError, match=r"pip install 'dwplus\[map\]'"):
        geemap_or_refuse()

"""Loops over pixels: compiled and in numpy, held against plain ones."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from dwplus.pipeline.raster import compiled_loops
from dwplus.pipeline.raster.compiled_loops import count_values, undo_predictor
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

IMAGES = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9))


@pytest.fixture(autouse=True)
def many_pixels_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has done as many pixels in numpy as it does."""
    monkeypatch.setattr(compiled_loops, "_FEW_PIXELS", 0)


@pytest.fixture(params=["compiled", "numpy"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(compiled_loops, "_compiled", lambda: None)
    else:
        pytest.importorskip("numba")
    return request.param


def test_sums_along_rows_wrap_around(form: str) -> None:
    values = np.empty((2, 4), dtype=np.uint16)

    undo_predictor(np.array([[5, 1, 65535, 0], [65535, 1, 1, 1]], dtype=np.uint16), values)

    assert values.tolist() == [[5, 6, 5, 5], [65535, 0, 1, 2]]


def test_counts_reach_to_the_largest_value(form: str) -> None:
    assert count_values(np.array([[3, 0], [3, 1]], dtype=np.uint16)).tolist() == [1, 1, 0, 2]
    assert count_values(np.array([65535], dtype=np.uint16)).shape == (65536,)
    assert count_values(np.zeros((0, 4), dtype=np.uint16)).shape == (0,)


@given(image=IMAGES)
def test_both_forms_are_the_same_numbers(image: np.ndarray) -> None:
    differences = np.diff(image, axis=1, prepend=np.uint16(0))
    found = np.empty_like(image)

    undo_predictor(differences, found)

    assert np.array_equal(found, image)
    assert np.array_equal(count_values(image), np.bincount(image.ravel()))


def test_a_part_of_a_larger_array_is_counted_and_written_too(form: str) -> None:
    # Given views that are not contiguous.
    image = np.arange(24, dtype=np.uint16).reshape(4, 6)
    values = np.zeros((8, 12), dtype=np.uint16)

    undo_predictor(np.diff(image, axis=1, prepend=np.uint16(0)), values[::2, ::2])

    assert np.array_equal(values[::2, ::2], image)
    assert count_values(image[:, ::3]).sum() == 8


@given(data=st.data())
def test_numpy_form_alone(data: st.DataObject) -> None:
    image = data.draw(IMAGES)
    found = np.empty_like(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_loops, "_compiled", lambda: None)
        undo_predictor(np.diff(image, axis=1, prepend=np.uint16(0)), found)
    assert np.array_equal(found, image)


def test_numba_is_loaded_where_there_are_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(compiled_loops, "_compiled", lambda: loaded.append(True))
    monkeypatch.setattr(compiled_loops, "_FEW_PIXELS", 10)
    monkeypatch.setattr(compiled_loops._Work, "pixels", 0)
    six = np.ones((2, 3), dtype=np.uint16)

    counts = []
    for _ in range(3):
        counts.append((count_values(six).tolist(), len(loaded)))
    undo_predictor(six, np.empty_like(six))

    assert counts == [([0, 6], 0), ([0, 6], 0), ([0, 6], 1)]
    assert len(loaded) == 2


class Numba(SimpleNamespace):
    """numba where some ways to compile fail, as with a full home folder; ``asked`` says what was tried."""

    def __init__(self, *works: bool) -> None:
        super().__init__(works=works, asked=[])

    def njit(self, *, nogil: bool, cache: bool):
        self.asked.append(cache)

        def compile_(loop):
            if cache not in self.works:
                raise OSError(28, "No space left on device")
            return loop

        return compile_


@pytest.mark.parametrize(("works", "compiled"), [((True, False), True), ((False,), True), ((), False)])
def test_machine_code_that_cannot_be_made_or_kept_is_done_without(
    monkeypatch: pytest.MonkeyPatch, works: tuple[bool, ...], compiled: bool
) -> None:
    numba = Numba(*works)
    monkeypatch.setitem(sys.modules, "numba", numba)
    compiled_loops._compiled.cache_clear()
    try:
        assert (compiled_loops._compiled() is not None) == compiled
        assert count_values(np.array([[3, 0], [3, 1]], dtype=np.uint16)).tolist() == [1, 1, 0, 2]
    finally:
        compiled_loops._compiled.cache_clear()
    assert numba.asked == ([True] if True in works else [True, False])


def test_a_numba_that_cannot_be_loaded_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a numba that is installed, and whose library does not load.
    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "numba":
                raise OSError("Could not find/load shared object file 'libllvmlite.so'")

    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    compiled_loops._compiled.cache_clear()
    try:
        assert count_values(np.array([[3, 0], [3, 1]], dtype=np.uint16)).tolist() == [1, 1, 0, 2]
    finally:
        compiled_loops._compiled.cache_clear()

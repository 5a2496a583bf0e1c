"""Numbers with their noun."""

from dwplus.pipeline.spec.words import count_of


def test_one_thing_is_singular_and_all_else_plural() -> None:
    assert [count_of(n, "tile") for n in (0, 1, 2, 1234)] == ["0 tiles", "1 tile", "2 tiles", "1,234 tiles"]
    assert count_of(1, "box", "boxes") == "1 box"
    assert count_of(3, "box", "boxes") == "3 boxes"

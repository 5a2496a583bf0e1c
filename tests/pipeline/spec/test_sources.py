"""Sources: three kinds of pixels, and what follows from each."""

import ast

import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.sources import CHOICES, EARTH_ENGINE, SANDBOX, Source
from support.paths import REPOSITORY


@pytest.mark.parametrize(
    ("name", "tag", "synthetic", "verified", "folder"),
    [
        ("earthengine", "", False, True, "earthengine"),
        ("SANDBOX", "[SANDBOX]", True, True, "sandbox"),
        ("UNVERIFIED ee.example.org", "[UNVERIFIED ee.example.org]", False, False, "earthengine"),
        ("user:valley", "[user:valley]", False, False, ""),
    ],
)
def test_a_name_in_a_record_tells_everything(name: str, tag: str, synthetic: bool, verified: bool, folder: str) -> None:
    source = Source.of(name)

    assert (source.name, source.tag, source.folder) == (name, tag, folder)
    assert (source.synthetic, source.verified) == (synthetic, verified)


def test_synthetic_pixels_claim_no_satellite_data() -> None:
    assert "no Copernicus data" in Source.of("SANDBOX").licence
    assert EARTH_ENGINE.licence.format(years="2019").startswith("Contains modified Copernicus Sentinel data 2019;")
    assert Source.unverified("h").licence == EARTH_ENGINE.licence


def test_added_pixels_are_named_by_a_word() -> None:
    assert Source.added_as("valley") == Source.added_as("user:valley") == Source.of("user:valley")
    assert Source.of("user:valley").added
    assert not EARTH_ENGINE.added
    assert "added by a user" in Source.of("user:valley").licence
    for text in ("", "user:", "two words", "a/b", "x" * 41):
        with pytest.raises(UsageError, match="names no source of added pixels"):
            Source.added_as(text)


def test_the_command_line_chooses_by_folder() -> None:
    assert CHOICES == {"sandbox": SANDBOX, "earthengine": EARTH_ENGINE}


def test_nobody_else_compares_the_name_of_a_source() -> None:
    names = {"earthengine", "SANDBOX", "sandbox"}
    for folder in ("pipeline", "workflow", "commands", "model"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            if path.name == "sources.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare):
                    constants = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                    assert not constants & names, f"{path}:{node.lineno} compares with the name of a source"

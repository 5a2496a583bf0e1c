"""The source of a data root: which planet it belongs to."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from dwplus.local_ee.planet.planet import VERSION
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.files.checksums import report_unchecked
from dwplus.pipeline.spec.sources import SANDBOX
from dwplus.workflow.source import open_source, planet_of


def open_once(root: DataRoot, **planet: int) -> None:
    """Open the sandbox for a root; nothing is asked, so no server starts."""
    with open_source(SANDBOX, Configuration(), root=root, concurrency=1, **planet):
        pass


def test_a_root_keeps_its_planet_and_refuses_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = DataRoot.at(tmp_path)
    report_unchecked.cache_clear()

    with caplog.at_level(logging.WARNING):
        open_once(root, tiles=24, seed=3)
        open_once(root)
        with pytest.raises(UsageError, match=r"holds the planet of --seed 3 --tiles 24, .* --seed 4 --tiles 24"):
            open_once(root, seed=4)

    # What this version writes carries a checksum.
    assert "no checksum" not in caplog.text


def test_a_planet_that_was_edited_is_refused(tmp_path: Path) -> None:
    root = DataRoot.at(tmp_path)
    open_once(root, tiles=24, seed=3)

    root.planet_file.write_text(root.planet_file.read_text().replace('"seed": 3', '"seed": 5'))

    with pytest.raises(DataError, match=r"planet\.json was changed since dwplus wrote it.*build again"):
        planet_of(root)


def test_the_planet_of_an_earlier_version_is_read_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = DataRoot.at(tmp_path)
    root.planet_file.write_text(json.dumps({"seed": 3, "tiles": 24, "version": 1}))
    report_unchecked.cache_clear()

    with caplog.at_level(logging.WARNING):
        assert {"seed": 3, "tiles": 24}.items() <= planet_of(root).items()

    assert caplog.text.count("no checksum") == 1


def test_pixels_of_an_earlier_planet_are_not_mixed_with_todays(tmp_path: Path) -> None:
    """Version 2 had other water, snow and towns; a scene of it beside one of today's would be another Earth."""
    root = DataRoot.at(tmp_path)
    root.planet_file.write_text(json.dumps({"seed": 7, "tiles": 132, "version": 2}))
    held = root.planet_file.read_bytes()

    with pytest.raises(UsageError, match=rf"holds version 2 .* makes version {VERSION}: .* another folder with --data"):
        open_once(root)

    assert root.planet_file.read_bytes() == held

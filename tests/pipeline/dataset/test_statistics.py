"""Statistics as a record: what was changed since it was written never trains a network."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from dwplus.pipeline.dataset.statistics import BandStatistics, Statistics, read_statistics, statistics_path
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files.records import write_record
from dwplus.pipeline.spec.bands import SHARD_BANDS
from support.flips import answers_after_flips

BAND = BandStatistics(count=9, mean=0.2, std=0.1, min=0.0, max=1.0, percentiles={"50": 0.2})
WHOLE = Statistics("strict", "SANDBOX", "abc", 1, dict.fromkeys(SHARD_BANDS, BAND), (1,) * 9, 0)


def test_no_flipped_byte_of_the_statistics_is_accepted_in_silence(tmp_path: Path) -> None:
    write_record(statistics_path(tmp_path, "strict"), WHOLE)

    answers = answers_after_flips(
        statistics_path(tmp_path, "strict"), lambda: read_statistics(tmp_path, "strict", classes=9)
    )

    assert all(found == WHOLE for found in answers.accepted)
    assert len(answers.refused) > 25
    assert all("stats-strict.json" in said and "run 'dwplus normalise' again" in said for said in answers.refused)


@pytest.mark.parametrize(
    "change",
    [{"tiles": 10**40}, {"ignored": 2**63}, {"without_data": -1}, {"class_counts": [1] * 8},
     {"class_counts": [10**30, *[1] * 8]}, {"bands": {"B4": asdict(replace(BAND, count=10**40))}}],
    ids=str,
)  # fmt: skip
def test_numbers_that_cannot_be_counts_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    document = json.loads(json.dumps(asdict(WHOLE)))
    bands = {**document["bands"], **change.pop("bands", {})}
    write_record(statistics_path(tmp_path, "strict"), {**document, **change, "bands": bands})

    with pytest.raises(DataError, match=r"stats-strict\.json cannot be used: numbers of tiles and of pixels"):
        read_statistics(tmp_path, "strict", classes=9)

"""Findings as a record: what was changed since it was written is never used."""

from pathlib import Path

import pytest
from dwplus.pipeline.dataset.findings import (
    FINDINGS_JSON,
    Finding,
    FindingsDocument,
    read_document,
    read_findings,
    write_findings,
)
from dwplus.pipeline.errors import DataError
from support.flips import answers_after_flips

FOUND = FindingsDocument(
    findings=(Finding("dw_1.0_1.0-20190101", "codes", "error", "12 is no class"),),
    validated={"dw_1.0_1.0-20190101": "a" * 64, "dw_2.0_1.0-20190101": "b" * 64},
    tiles=2,
)


def test_no_flipped_byte_of_the_findings_is_accepted_in_silence(tmp_path: Path) -> None:
    write_findings(tmp_path, FOUND)

    answers = answers_after_flips(tmp_path / FINDINGS_JSON, lambda: read_document(tmp_path))

    # What is accepted was damaged in a space, or in the name of the checksum: nothing that is used.
    assert all(found == FOUND for found in answers.accepted)
    assert len(answers.refused) > 30
    assert all("findings.json" in said and "run 'dwplus validate' again" in said for said in answers.refused)
    assert read_document(tmp_path) == FOUND


@pytest.mark.parametrize(
    "text",
    ['{"findings": [{"tile": 1}], "validated": {}}', '{"findings": [], "validated": []}', '{"validated": {}}',
     '{"findings": [{"tile": "a", "rule": "b", "severity": "fatal", "message": ""}], "validated": {}}'],
)  # fmt: skip
def test_findings_of_another_shape_are_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FINDINGS_JSON).write_text(text)

    with pytest.raises(DataError, match=r"findings\.json does not hold what it should.*run 'dwplus validate' again"):
        read_findings(tmp_path)

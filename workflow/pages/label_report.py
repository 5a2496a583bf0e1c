"""The page of own labels: what each class amounts to, where labels come from, and what scores on them do not say."""

from __future__ import annotations

from pathlib import Path

from ...pipeline.dataset.root import DataRoot
from ...pipeline.files.atomic import write_atomically
from ...pipeline.own.describe import FEW_BLOCKS, NOT_A_MAP, LabelReport
from ...pipeline.spec.version import __version__
from .html import render


def write_label_report(root: DataRoot, found: LabelReport) -> Path:
    """Write ``report/labels.html`` of a data root; its path."""
    page = render(
        "labels.html.j2",
        {
            "report": found,
            "few": FEW_BLOCKS,
            "not_a_map": NOT_A_MAP,
            "version": __version__,
        },
    )
    write_atomically(root.label_report_page, page)
    return root.label_report_page

"""What tests leave out of reports."""

import pytest
from dwplus.workflow.pages import content
from dwplus.workflow.reproduction import ours


def without_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs of the paper's networks take long, and are tested where they are counted."""
    monkeypatch.setattr(content, "cost_rows", lambda: ())
    monkeypatch.setattr(ours, "cost_rows", lambda: ())

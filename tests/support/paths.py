"""Where things lie: the repository, and real data beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "realdata"
"""Real label tiles and scenes; tests that use them are skipped where the folder is absent."""

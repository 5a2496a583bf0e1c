"""Predictions that the report draws, kept beside it: a network runs once on each tile, not with each page.

A file is named by a hash of the weights, the tile's shard and the code of all networks, so that whatever changes is
predicted anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...pipeline.errors import DwplusError
from ...pipeline.files.atomic import write_atomically
from .pixels import class_map


@dataclass
class KeptPredictions:
    """Predictions in a folder; ``used`` are the names of those that this page shows."""

    folder: Path
    used: set[str] = field(default_factory=set)

    @staticmethod
    def key(*parts: str) -> str:
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def get(self, key: str) -> NDArray[np.uint8] | None:
        """Class indices, uint8 (H, W); None where they are not kept, or cannot be read."""
        from PIL import Image, UnidentifiedImageError

        self.used.add(f"{key}.png")
        try:
            with Image.open(io.BytesIO((self.folder / f"{key}.png").read_bytes())) as picture:
                return np.array(picture) if picture.mode == "P" else None
        except (OSError, UnidentifiedImageError, ValueError):
            return None

    def put(self, key: str, indices: NDArray[np.uint8]) -> None:
        """Keep class indices; a folder that cannot be written to costs time and nothing else."""
        self.used.add(f"{key}.png")
        with contextlib.suppress(DwplusError, OSError):
            write_atomically(self.folder / f"{key}.png", class_map(indices))

    def forget_others(self) -> None:
        """Remove what this page does not show."""
        with contextlib.suppress(OSError):
            for path in self.folder.glob("*.png"):
                if path.name not in self.used:
                    path.unlink()

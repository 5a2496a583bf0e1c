"""What it costs to check every shard and label against its hash, for a training of ten epochs.

    python benchmarks/checked_reads.py [--epochs 10]

Tiles are those of the synthetic planet, laid out by ``rigs/many_shards.py``. Shards and labels are read epoch by epoch,
with the hashes on record and without; each process hashes a file once and then trusts it while size, time and inode
stay, so the cost is that of the first epoch. CPU time of one thread, files in memory.
Bar: reading ten epochs with checks takes at most 1.03 times as long as without.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files import checksums
from dwplus.pipeline.raster.geotiff import read_bands, read_codes
from dwplus.pipeline.spec.bands import preset
from rigs import arguments
from rigs.many_shards import lay_out, patterns

BAR = 1.03


def epoch_s(root: DataRoot, rows: Sequence[ManifestRow], *, checked: bool) -> float:
    """CPU seconds of reading every tile once."""
    ledger, bands = root.ledger(), preset("ms10sar")
    begun = time.process_time()
    for row in rows:
        read_bands(root.shard(row.tile), bands, sha256=ledger[row.tile.id].sha256 if checked else None)
        read_codes(root.label(row), sha256=row.label_written_sha256 if checked else None)
    return time.process_time() - begun


def main() -> int:
    made = arguments.parser(__doc__)
    made.add_argument("--tiles", type=int, default=40)
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--rounds", type=int, default=3)
    options = arguments.parse(made, tiles=4, epochs=2, rounds=1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        root = lay_out(place / "data", options.tiles, patterns(None, place / "patterns", max(12, options.tiles)))
        rows = root.manifest().rows
        epoch_s(root, rows, checked=False)
        plain, checked, first = [], [], []
        for _ in range(options.rounds):
            plain.append(sum(epoch_s(root, rows, checked=False) for _ in range(options.epochs)))
            checksums.forget()
            epochs = [epoch_s(root, rows, checked=True) for _ in range(options.epochs)]
            checked.append(sum(epochs))
            first.append(epochs[0] - statistics.median(epochs[1:]))
    ratio = statistics.median(checked) / statistics.median(plain)
    print(
        f"{options.epochs} epochs of {len(rows)} tiles: {statistics.median(plain):.2f} s, with checks "
        f"{statistics.median(checked):.2f} s: {ratio:.3f} x   (bar {BAR:g})\n"
        f"first read of a tile: {statistics.median(first) / len(rows) * 1e3:.2f} ms more"
    )
    return 0 if options.tiny or ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

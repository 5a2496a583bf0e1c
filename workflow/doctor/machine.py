"""Machine: what a build needs of this computer - versions, disk, locks, memory, open files, proxies."""

from __future__ import annotations

import fcntl
import platform
import resource
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from ...pipeline.build.budget import SHARD_BYTES
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DwplusError, MachineError
from ...pipeline.files.atomic import check_writable
from ...pipeline.files.remote import shown_url
from ...pipeline.machine import usable_cores, usable_memory_bytes
from ...pipeline.raster.gdal import check_libraries
from ...pipeline.spec.sources import Source
from ...pipeline.spec.version import __version__
from .checklist import Check

GB = 1e9
SHARD_MB = tuple(size / 1e6 for size in SHARD_BYTES)
"""One tile of real Sentinel-2 (11 bands) with Sentinel-1 as a shard, measured on two real scenes."""

TILES = (17_192, 24_603)
"""Tiles that the paper kept; tiles that the releases hold (4,194 expert, about 20,000 non-expert, 409 test)."""

ARCHIVES_GB, UNPACKED_GB = 4.5, 5.0
"""Label archives as downloaded (the test archive alone has 3.9 GB), and what is unpacked of them."""

SANDBOX_TILES = 132
LEAST_FREE_GB = 1.0
LEAST_MEMORY_GB = 2.0
LEAST_OPEN_FILES = 1024

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "fuse.glusterfs", "afs", "fuse.sshfs")

_PACKAGES = ("earthengine-api", "dask", "pyarrow")


def versions() -> Iterator[Check]:
    """dwplus, Python and the libraries whose versions matter in a report of a defect."""
    topic = "Versions"
    yield Check(topic, "dwplus", "ok", __version__)
    yield Check(topic, "Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in _PACKAGES:
        yield _version(name)
    yield _rasterio()
    yield _torch()


def _version(package: str) -> Check:
    try:
        return Check("Versions", package, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        return Check("Versions", package, "error", "not installed", f"pip install {package}")


def _rasterio() -> Check:
    try:
        import rasterio
    except ImportError as error:
        return Check("Versions", "rasterio", "error", f"cannot be imported: {error}", "pip install rasterio")
    found = f"{rasterio.__version__}, GDAL {rasterio.__gdal_version__}"
    try:
        check_libraries()
    except MachineError as error:
        problem, _, advice = str(error).partition("; ")
        return Check("Versions", "rasterio", "error", f"{found}: {problem}", advice)
    return Check("Versions", "rasterio", "ok", found)


def _torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("Versions", "torch", "warning", f"cannot be imported: {error}", "needed to train, not to build")
    if not torch.cuda.is_available():
        return Check("Versions", "torch", "ok", f"{torch.__version__}, no CUDA device: training runs on the CPU")
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Check("Versions", "torch", "ok", f"{torch.__version__}, CUDA {torch.version.cuda}: {', '.join(names)}")


def local(root: Path, source: Source, *, free_bytes: int | None = None) -> Iterator[Check]:
    """The data folder and this machine.

    Args:
        root: data root of the source; it need not exist.
        free_bytes: space on its disk; None = look.
    """
    yield writable(root)
    yield disk(root, needed_gb(source), free_bytes=free_bytes)
    yield locks(root)
    yield memory()
    yield Check("This machine", "cores", "ok", f"{usable_cores()}; --workers takes fewer")
    yield shared_memory()
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def needed_gb(source: Source) -> tuple[float, float]:
    """Disk that the whole data set takes, at least and at most, in GB of 10^9 bytes."""
    if source.synthetic:
        return SANDBOX_TILES * SHARD_MB[0] / 1e3, SANDBOX_TILES * SHARD_MB[1] / 1e3
    labels = ARCHIVES_GB + UNPACKED_GB
    return TILES[0] * SHARD_MB[0] / 1e3 + labels, TILES[1] * SHARD_MB[1] / 1e3 + labels


def writable(root: Path) -> Check:
    try:
        check_writable(root)
    except DwplusError as error:
        return Check("Data folder", "writable", "error", str(error), "name another folder with --data, or DWPLUS_DATA")
    return Check("Data folder", "writable", "ok", str(root.absolute()))


def disk(root: Path, needed: tuple[float, float], *, free_bytes: int | None = None) -> Check:
    """Free space against what ``--region all`` takes beyond the shards that are there."""
    free = (shutil.disk_usage(_nearest(root)).free if free_bytes is None else free_bytes) / GB
    held = sum(path.stat().st_size for path in DataRoot.at(root).shards.rglob("*.tif")) / GB
    least, most = (max(number - held, 0.0) for number in needed)
    found = f"{free:,.1f} GB free; --region all needs {least:,.1f} to {most:,.1f} GB{' more' * (held > 0)}"
    if free < min(LEAST_FREE_GB, most):
        return Check("Data folder", "disk", "error", found, "free some space, or name another folder with --data")
    if free < most:
        advice = "it may not hold everything: name a larger disk with --data, or narrow with --region, --biome, --limit"
        return Check("Data folder", "disk", "warning", found, advice)
    return Check("Data folder", "disk", "ok", found)


def locks(root: Path) -> Check:
    """Whether a lock keeps a second builder out, as the ledger needs."""
    place = _nearest(root)
    kind = file_system(place, _mounts())
    try:
        works = _lock_excludes(place)
    except OSError as error:
        advice = "name a folder on a local disk with --data"
        return Check("Data folder", "file locks", "error", f"refused in {place}: {error.strerror}", advice)
    if not works:
        advice = "two builds at once would not notice each other: run one at a time, or name a local disk with --data"
        return Check("Data folder", "file locks", "warning", f"two processes get the same lock ({kind})", advice)
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        advice = "locks may not reach other machines: build from one machine at a time"
        found = f"work on this machine; {kind} is a network file system"
        return Check("Data folder", "file locks", "warning", found, advice)
    return Check("Data folder", "file locks", "ok", f"work ({kind})")


def _lock_excludes(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock-test.") as first, Path(first.name).open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def file_system(path: Path, mounts: str) -> str:
    """Kind of the file system that a path is on, from the lines of ``/proc/mounts``."""
    best, kind = "", "unknown file system"
    resolved = path.resolve()
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 2 and resolved.is_relative_to(fields[1]) and len(fields[1]) >= len(best):
            best, kind = fields[1], fields[2]
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def memory() -> Check:
    room = usable_memory_bytes()
    free = None if room is None else room / GB
    if free is None:
        return Check("This machine", "memory", "ok", "not told by this system")
    if free < LEAST_MEMORY_GB:
        advice = f"validation and statistics may need {LEAST_MEMORY_GB:g} GB: pass --workers 1"
        return Check("This machine", "memory", "warning", f"{free:.1f} GB available", advice)
    return Check("This machine", "memory", "ok", f"{free:.1f} GB available")


LEAST_SHARED_MEMORY_GB = 0.5


def shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """What loader processes hand their batches over in; containers have 64 MB of it where nothing else is said."""
    topic, title = "This machine", "shared memory"
    try:
        free = shutil.disk_usage(folder).free / GB
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = "work is done in one process: start the container with --shm-size 2g, or train with --set workers=0"
        return Check(topic, title, "warning", f"{folder} cannot be used: {error.strerror or error}", advice)
    if free < LEAST_SHARED_MEMORY_GB:
        advice = "start the container with --shm-size 2g, or train with --set workers=0"
        return Check(topic, title, "warning", f"{free:.2f} GB free in {folder}", advice)
    return Check(topic, title, "ok", f"{free:.1f} GB free")


def open_files(limit: int) -> Check:
    if 0 <= limit < LEAST_OPEN_FILES:
        return Check("This machine", "open files", "warning", f"at most {limit}", "run 'ulimit -n 4096' before a build")
    return Check("This machine", "open files", "ok", f"at most {limit}" if limit >= 0 else "no limit")


def proxies(found: Mapping[str, str] | None = None) -> Check:
    """Proxies that requests go through; user and password of their addresses are not shown."""
    found = urllib.request.getproxies() if found is None else found
    shown = [f"{scheme} {_without_password(url)}" for scheme, url in sorted(found.items())]
    return Check("Network", "proxies", "ok", ", ".join(shown) or "none")


def _without_password(url: str) -> str:
    return urlsplit(shown_url(url if "://" in url else f"//{url}")).netloc

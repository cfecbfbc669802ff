"""Whether this machine has what vitscale needs: versions, devices, memory, disk, limits, a store.

Each finding says what is, and what to do where that is not enough. Nothing is changed, but that a file is
written and removed where writing is in question.
"""

import dataclasses
import json
import os
import platform
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from vitscale import __version__

State = Literal["ok", "warning", "missing", "broken"]
"""As it should be, worth a look, not there and not needed, or needed and not as it has to be."""

_FEW_FILES = 1024
_LITTLE_DISK = 5e9
_LITTLE_MEMORY = 2e9
_LITTLE_SHARED_MEMORY = 256e6
_DEVICES = """
import json, sys, time
began = time.time()
import jax
devices = [[d.platform, d.device_kind, (d.memory_stats() or {}).get("bytes_limit")] for d in jax.devices()]
print(json.dumps({"seconds": time.time() - began, "devices": devices}))
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at: its name, how it is, in words, and what to do where that is not ok."""

    name: str
    state: State
    text: str
    do: str = ""

    def line(self) -> str:
        """For a person."""
        return f"{self.state:<8} {self.name:<20} {self.text}" + (f"; {self.do}" if self.do else "")


def examine(store: str | None = None, *, device_seconds: float = 60.0) -> Iterator[Finding]:
    """All findings, one by one as they are made.

    - `store`: a folder or an address that measurements are to go to.
    - `device_seconds`: how long to wait for jax to name its devices.
    """
    yield from _versions()
    yield _devices(device_seconds)
    yield _processor()
    yield _memory()
    yield _shared_memory()
    yield from _limits()
    yield _compilation_cache()
    yield _temporary_folder()
    yield _data_sets()
    yield _terminal()
    if store is not None:
        yield examine_store(store)
    yield from _extras()


def _versions() -> Iterator[Finding]:
    yield Finding(
        name="vitscale", state="ok", text=f"{__version__} in {Path(__file__).parent.as_posix()}"
    )
    yield Finding(
        name="python", state="ok", text=f"{platform.python_version()} at {sys.executable}"
    )
    for requirement in _requirements(None):
        lacking = list(_lacking(requirement))
        if lacking:
            yield Finding(
                name=requirement.name,
                state="broken",
                text="; ".join(lacking),
                do="install vitscale again: uv sync, or pip install --upgrade vitscale",
            )
        else:
            version = metadata.version(requirement.name)
            more = f", jaxlib {metadata.version('jaxlib')}" if requirement.name == "jax" else ""
            yield Finding(name=requirement.name, state="ok", text=f"{version}{more}")


def _extras() -> Iterator[Finding]:
    names = metadata.metadata("vitscale").get_all("Provides-Extra") or []
    for extra in names:
        lacking = [each for needed in _requirements(extra) for each in _lacking(needed)]
        if lacking:
            yield Finding(
                name=f"extra {extra}",
                state="missing",
                text=f"not needed unless you use it ({_few(lacking)})",
                do=f"uv sync --extra {extra}, or pip install 'vitscale[{extra}]'",
            )
        else:
            yield Finding(name=f"extra {extra}", state="ok", text="installed")


def _requirements(extra: str | None) -> list[Requirement]:
    """What vitscale needs, or what one of its extras adds."""
    found = [Requirement(text) for text in metadata.requires("vitscale") or []]
    if extra is None:
        return [each for each in found if each.marker is None or each.marker.evaluate()]
    # On another system an extra may consist of nothing, which is then there.
    return [
        each
        for each in found
        if each.marker is not None
        and each.marker.evaluate({"extra": extra})
        and not each.marker.evaluate({"extra": ""})
    ]


def _lacking(needed: Requirement) -> Iterator[str]:
    """What is not installed of a requirement and of what it itself requires, in words."""
    yield from _unmet(needed)
    try:
        inner = [Requirement(text) for text in metadata.requires(needed.name) or []]
    except metadata.PackageNotFoundError:
        return
    for each in inner:
        asked = [each.marker is None or each.marker.evaluate({"extra": ""})]
        asked += [
            each.marker is not None and each.marker.evaluate({"extra": e}) for e in needed.extras
        ]
        if any(asked):
            yield from _unmet(each)


def _unmet(needed: Requirement) -> Iterator[str]:
    try:
        version = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        yield f"{needed.name} is not installed"
        return
    if not needed.specifier.contains(version, prereleases=True):
        yield f"{needed.name} {version} is installed, but {needed.specifier} is needed"


def _devices(seconds: float) -> Finding:
    """Asked in a process of its own: a driver that hangs does not hang this one."""
    from vitscale.sweeps.engines.devices import set_compilation_cache

    # Else jax would take most of a GPU's memory from those who work on it.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    set_compilation_cache(environment)
    process = subprocess.Popen(
        [sys.executable, "-c", _DEVICES],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: a process in a hung driver cannot be ended
        return Finding(
            name="devices",
            state="broken",
            text=f"jax did not name its devices within {seconds:g} s",
            do="look whether the driver hangs (nvidia-smi), or go on with JAX_PLATFORMS=cpu",
        )
    if process.returncode:
        said = [line for line in err.splitlines() if line.strip()]
        return Finding(
            name="devices",
            state="broken",
            text=f"jax cannot start: {said[-1] if said else f'exit code {process.returncode}'}",
            do="install vitscale again, or go on with JAX_PLATFORMS=cpu",
        )
    found = json.loads(out.splitlines()[-1])
    return _told_devices(found["devices"], found["seconds"])


def _told_devices(devices: list[tuple[str, str, int | None]], seconds: float) -> Finding:
    kinds: dict[str, int] = {}
    for _, kind, size in devices:
        held = f" of {size / 1e9:.0f} GB" if size else ""
        kinds[f"{kind}{held}"] = kinds.get(f"{kind}{held}", 0) + 1
    text = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    text = f"{text} (named in {seconds:.1f} s)"
    forced = os.environ.get("JAX_PLATFORMS")
    if {platform for platform, _, _ in devices} == {"cpu"} and _has_gpu():
        return Finding(
            name="devices",
            state="warning",
            text=f"{text}, though an NVIDIA GPU is here",
            do=f"JAX_PLATFORMS={forced} is set; unset it to use the GPU"
            if forced
            else "uv sync --extra cuda, or pip install 'vitscale[cuda]'",
        )
    return Finding(name="devices", state="ok", text=text)


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _processor() -> Finding:
    from vitscale.sweeps.engines.devices import usable_cores

    cores, there = usable_cores(), os.cpu_count() or 1
    text = f"{cores} usable" + (f" of {there}" if cores != there else "")
    return Finding(name="cores", state="ok", text=text)


def _memory() -> Finding:
    from vitscale.scaling.finder.device import machine_memory

    free = machine_memory()
    if free is None:
        return Finding(name="memory", state="ok", text="how much is free is not known here")
    return _enough(
        "memory", free, _LITTLE_MEMORY, "free", "end other programs, or start fewer --workers"
    )


def _shared_memory() -> Finding:
    path = Path("/dev/shm")
    if not path.is_dir():
        return Finding(name="shared memory", state="ok", text="of another kind on this system")
    return _enough(
        "shared memory",
        shutil.disk_usage(path).free,
        _LITTLE_SHARED_MEMORY,
        "free in /dev/shm",
        "readers of images need it; start the container with --shm-size=1g or --ipc=host",
    )


def _limits() -> Iterator[Finding]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = files == resource.RLIM_INFINITY or files >= _FEW_FILES
    yield Finding(
        name="open files",
        state="ok" if enough else "warning",
        text=f"{_limit(files)} at once (ulimit -n)",
        do="" if enough else f"raise it with: ulimit -n {_limit(most)}",
    )
    if hasattr(resource, "RLIMIT_NPROC"):
        processes, most = resource.getrlimit(resource.RLIMIT_NPROC)
        enough = processes == resource.RLIM_INFINITY or processes >= 512
        yield Finding(
            name="processes",
            state="ok" if enough else "warning",
            text=f"{_limit(processes)} at once (ulimit -u)",
            do="" if enough else f"raise it with: ulimit -u {_limit(most)}",
        )


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _compilation_cache() -> Finding:
    from vitscale.sweeps.engines.devices import set_compilation_cache

    environment = dict(os.environ)
    set_compilation_cache(environment)
    path = Path(environment["JAX_COMPILATION_CACHE_DIR"])
    sizes = [file.stat().st_size for file in path.glob("*") if file.is_file()]
    text = f"{path.as_posix()}: {len(sizes):,} files, {_bytes(sum(sizes))}"
    return _writable("compilation cache", path, text, "name another with JAX_COMPILATION_CACHE_DIR")


def _temporary_folder() -> Finding:
    path = Path(tempfile.gettempdir())
    return _writable("temporary files", path, path.as_posix(), "name another folder with TMPDIR")


def _data_sets() -> Finding:
    from vitscale.scaling.data.folders import data_folder

    path = data_folder()
    sets = sorted(each.name for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    held = f"{len(sets)} data sets ({_few(sets)})" if sets else "no data sets yet"
    return Finding(
        name="data sets",
        state="ok",
        text=f"{path.as_posix()}: {held}",
        do="" if sets else "vitscale data --help says how to make one; glyphs need none",
    )


def _terminal() -> Finding:
    encoding = (sys.stdout.encoding or "").lower()
    if encoding.replace("-", "") == "utf8":
        return Finding(name="text", state="ok", text=encoding)
    return Finding(
        name="text",
        state="warning",
        text=f"{encoding or 'unknown encoding'}: curves and signs are shown as ?",
        do="set LC_ALL=C.UTF-8",
    )


def examine_store(where: str) -> Finding:
    """Whether a store is there and can be written to, or can be made."""
    from vitscale.sweeps.files import StoreError
    from vitscale.sweeps.places.place import is_remote
    from vitscale.sweeps.store import Store

    name = f"store {where}"
    try:
        there = Store.exists(where)
    except (StoreError, ValueError, OSError) as error:
        return Finding(name=name, state="broken", text=str(error), do="check address and rights")
    if is_remote(where):
        return _remote_store(name, where, there=there)
    path = Path(where)
    what = "a store" if there else "no store there yet"
    do = "choose a folder that you may write to"
    return _warned(_writable(name, path, what, do, needed=True), there=there)


def _warned(finding: Finding, *, there: bool) -> Finding:
    """A place that could hold a store and holds none is worth a look: the name may be misspelt."""
    if there or finding.state != "ok":
        return finding
    do = "a sweep makes it there; look at the name if you expected one"
    return dataclasses.replace(finding, state="warning", do=do)


def _remote_store(name: str, where: str, *, there: bool) -> Finding:
    from vitscale.sweeps.places.place import open_place

    place, key = open_place(where), f"doctor-{secrets.token_hex(8)}"
    began = time.monotonic()
    try:
        place.write(key, b"vitscale doctor")
        same = place.read(key) == b"vitscale doctor"
        place.delete(key)
    except (ValueError, OSError) as error:
        return Finding(name=name, state="broken", text=str(error), do="check address and rights")
    text = f"{'a store' if there else 'no store there yet'}; written, read and deleted in "
    text += f"{time.monotonic() - began:.2f} s"
    if not same:
        return Finding(name=name, state="broken", text="what is read is not what was written")
    return _warned(Finding(name=name, state="ok", text=text), there=there)


def _writable(name: str, path: Path, text: str, do: str, *, needed: bool = False) -> Finding:
    """Whether files can be made in a folder, or where it would be made, and how much room is there."""
    at = path
    while not at.exists() and at != at.parent:
        at = at.parent
    bad: State = "broken" if needed else "warning"
    try:
        with tempfile.TemporaryFile(dir=at):
            pass
    except OSError as error:
        return Finding(
            name=name, state=bad, text=f"{text}, not writable: {error.strerror} at {at}", do=do
        )
    free = shutil.disk_usage(at).free
    room = f"{text}, {_bytes(free)} free"
    if free < _LITTLE_DISK:
        return Finding(name=name, state="warning", text=room, do=f"make room there, or {do}")
    return Finding(name=name, state="ok", text=room)


def _enough(name: str, free: float, little: float, what: str, do: str) -> Finding:
    text = f"{_bytes(free)} {what}"
    if free < little:
        return Finding(name=name, state="warning", text=text, do=do)
    return Finding(name=name, state="ok", text=text)


def _bytes(count: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def summary(findings: list[Finding]) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "ok": not any(finding.state == "broken" for finding in findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }

"""What is known of a device: how much it holds, and how fast it can be at best."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from vitscale.scaling.finder.record import MemorySource

_UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

# Dense bfloat16 FLOP/s of what JAX calls one device, by the beginning of its kind; of several that
# match, the longest is meant. A TPU v3 chip is two devices.
_NVIDIA_HOPPER = "NVIDIA H100 and H200 data sheets, half of the figure with sparsity"
_NVIDIA_A100 = "NVIDIA A100 data sheet"
_CLOUD_TPU = "Google Cloud TPU documentation, system architecture"
_PEAKS: dict[str, tuple[float, str]] = {
    "NVIDIA H200": (989e12, _NVIDIA_HOPPER),
    "NVIDIA H100": (989e12, _NVIDIA_HOPPER),
    "NVIDIA H100 PCIe": (756e12, _NVIDIA_HOPPER),
    "NVIDIA H100 NVL": (835e12, _NVIDIA_HOPPER),
    "NVIDIA A100": (312e12, _NVIDIA_A100),
    "TPU v3": (123e12 / 2, _CLOUD_TPU),
    "TPU v4": (275e12, _CLOUD_TPU),
    "TPU v5 lite": (197e12, _CLOUD_TPU),
    "TPU v5e": (197e12, _CLOUD_TPU),
    "TPU v5": (459e12, _CLOUD_TPU),
    "TPU v5p": (459e12, _CLOUD_TPU),
    "TPU v6 lite": (918e12, _CLOUD_TPU),
    "TPU v6e": (918e12, _CLOUD_TPU),
}


class DeviceMemory(NamedTuple):
    """Bytes that one device may hold, and who says so."""

    bytes: int
    source: MemorySource


def peak_flops_per_second(device_kind: str, precision: str) -> float | None:
    """Dense FLOP/s of one device at best; None where they are not known, as for all but bfloat16."""
    kinds = [kind for kind in _PEAKS if device_kind.startswith(kind)]
    if precision != "bfloat16" or not kinds:
        return None
    return _PEAKS[max(kinds, key=len)][0]


def device_memory(device: Any, devices: int = 1) -> DeviceMemory:
    """What one JAX device may hold; of a CPU, its part of what this process can still take.

    Raises `ValueError` where nobody says.
    """
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit:
        return DeviceMemory(int(limit), "device")
    available = machine_memory() if device.platform == "cpu" else None
    if available is None:
        raise ValueError(
            f"how much memory {device.device_kind} has is not known here; give it as --memory 16GB"
        )
    return DeviceMemory(available // devices, "machine")


def parse_memory(text: str) -> int:
    """Bytes of "16GB" (10^9 each) or "16GiB" (2^30 each); raises `ValueError` for anything else."""
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([a-zA-Z]+)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or float(match[1]) * unit < 1:
        raise ValueError(f"memory={text!r} is not an amount of memory; write it as 16GB or 80GiB")
    return int(float(match[1]) * unit)


def machine_memory() -> int | None:
    """Bytes that are free on this machine, within the limit of its container."""
    found = []
    for limit, current in _CGROUP_FILES:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(current).read_text()))
        except (OSError, ValueError):
            continue  # no such file, or a limit of "max"
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        pass  # not Linux
    return max(0, min(found)) if found else None

"""What this machine offers to workers, found without importing jax."""

import importlib.util
import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def usable_cores() -> int:
    """Cores this process may use: its affinity, and the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no such file, or a quota of "max"
    return cores


def accelerators(devices: Path = Path("/dev")) -> list[str]:
    """The NVIDIA GPUs that jax would use, as `CUDA_VISIBLE_DEVICES` names them; none where jax has
    no plugin for them or the user asked for the CPU.

    - `devices`: the folder of device nodes.
    """
    if os.environ.get("JAX_PLATFORMS", "") == "cpu":
        return []
    if not any(importlib.util.find_spec(plugin) for plugin in _PLUGINS):
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device for device in chosen.split(",") if device]
    # CUDA counts from 0 what a container sees, whatever the host calls it: /dev/nvidia3 alone is "0".
    nodes = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    return [str(number) for number in range(sum(node.isdecimal() for node in nodes))]


def worker_environment(threads: int, device: str | None, *, shared: bool) -> dict[str, str]:
    """The environment of a worker: this one's, with its threads or its GPU set.

    - `threads`: of a worker that has no `device`.
    - `shared`: whether several workers use one device, so that none may take its whole memory.
    """
    environment = dict(os.environ)
    set_compilation_cache(environment)
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
        if shared:
            environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        return environment
    flags = environment.get("XLA_FLAGS", "")
    if threads == 1 and "xla_cpu_multi_thread_eigen" not in flags:
        environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    # NPROC sizes XLA's own thread pool, the others those of the libraries around it.
    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(threads)
    return environment


def set_compilation_cache(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have jax keep what it compiles, for all workers and runs on this machine, unless the user has
    said where or not to; to be called before jax is imported."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitscale" / "xla"
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

"""The engine that a command line asks for, and the flags that ask for it."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from vitscale.commands.options import Groups

if TYPE_CHECKING:
    from vitscale.scaling.execution import Execution
    from vitscale.sweeps.engines.local import LocalEngine
    from vitscale.sweeps.engines.ray import RayEngine

EngineName = Literal["local", "ray"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """Worker processes on this machine: fields of every command that trains the trials of a plan."""

    workers: int | None = None
    """Worker processes; by default one for each accelerator or core."""
    threads: int = 1
    """Threads of each worker, on CPU."""
    pack: int = 1
    """Trials that a worker trains together, where they differ in seed and learning rate alone: for
    nets too small to fill an accelerator."""
    checkpoint_seconds: float = 20.0
    """What a kill may cost: training is saved this often."""
    grace_seconds: float = 20.0
    """What trials get to save in on SIGTERM, Ctrl-C or --max-hours, before they are killed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engines(Processes):
    """Where trials run: fields of the commands that take an engine."""

    engine: EngineName = "local"
    """Where trials run: in processes of this machine, or on a Ray cluster (extra ray)."""
    address: str | None = None
    """Of the Ray cluster: auto (default), HOST:PORT, or local to start one here."""
    hosts: int = 1
    """With Ray: machines that train each trial together."""
    gpus: int = 0
    """With Ray: GPUs of each of them for each trial."""
    tpu: str | None = None
    """With Ray: the TPU slice for each trial, as VERSION:TOPOLOGY (v6e:4x4)."""


PROCESS_GROUP: Groups = {"Workers": tuple(f.name for f in dataclasses.fields(Processes))}
CLUSTER_GROUP: Groups = {"On a Ray cluster": ("engine", "address", "hosts", "gpus", "tpu")}
"""Their headings in helps."""


def engine_for(command: Engines, execution: "Execution | None" = None) -> "LocalEngine | RayEngine":
    """Worker processes on this machine, or crews on a Ray cluster.

    Raises `ValueError` where the flags do not go together, or as `RayEngine`.
    """
    if command.engine == "ray":
        from vitscale.sweeps.engines.ray import Needs, RayEngine

        return RayEngine(
            address=command.address or "auto",
            needs=Needs(
                hosts=command.hosts, cpus=command.threads, gpus=command.gpus, tpu=command.tpu
            ),
            workers=command.workers,
            execution=execution,
            pack=command.pack,
            checkpoint_seconds=command.checkpoint_seconds,
        )
    if command.address is not None or command.hosts > 1 or command.gpus or command.tpu is not None:
        raise ValueError("--address, --hosts, --gpus and --tpu are for --engine ray; add it")
    return local_engine(command, execution)


def local_engine(command: Processes, execution: "Execution | None" = None) -> "LocalEngine":
    """Worker processes on this machine."""
    from vitscale.sweeps.engines.local import LocalEngine

    return LocalEngine(
        workers=command.workers,
        threads=command.threads,
        execution=execution,
        pack=command.pack,
        checkpoint_seconds=command.checkpoint_seconds,
    )

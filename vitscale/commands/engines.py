"""The engine that a command line asks for."""

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from vitscale.scaling.execution import Execution
    from vitscale.sweeps.engines.local import LocalEngine
    from vitscale.sweeps.engines.ray import RayEngine

EngineName = Literal["local", "ray"]


class AskedHere(Protocol):
    """The flags of processes on this machine."""

    @property
    def workers(self) -> int | None: ...
    @property
    def threads(self) -> int: ...
    @property
    def pack(self) -> int: ...
    @property
    def checkpoint_seconds(self) -> float: ...


class Asked(AskedHere, Protocol):
    """The flags that say where trials run."""

    @property
    def engine(self) -> EngineName: ...
    @property
    def address(self) -> str | None: ...
    @property
    def hosts(self) -> int: ...
    @property
    def gpus(self) -> int: ...
    @property
    def tpu(self) -> str | None: ...


def engine_for(command: Asked, execution: "Execution | None" = None) -> "LocalEngine | RayEngine":
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


def local_engine(command: AskedHere, execution: "Execution | None" = None) -> "LocalEngine":
    """Worker processes on this machine."""
    from vitscale.sweeps.engines.local import LocalEngine

    return LocalEngine(
        workers=command.workers,
        threads=command.threads,
        execution=execution,
        pack=command.pack,
        checkpoint_seconds=command.checkpoint_seconds,
    )

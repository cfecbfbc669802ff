"""Every tracker by its name, and what `--track` asks for."""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence

from vitscale.sweeps.decode import refuse_unknown
from vitscale.sweeps.trackers.mlflow import MLflow
from vitscale.sweeps.trackers.tensorboard import TensorBoard
from vitscale.sweeps.trackers.tracker import Tracker
from vitscale.sweeps.trackers.wandb import WandB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A tracker: how it is made of what stands after its name, the package that it needs (and the extra of
    the same name as the tracker brings), and whether something has to stand there."""

    make: Callable[[str], Tracker]
    package: str
    needs: str = ""


TRACKERS = {
    "tensorboard": Known(make=TensorBoard, package="tensorboard", needs="a folder for its logs"),
    "mlflow": Known(make=MLflow, package="mlflow"),
    "wandb": Known(make=WandB, package="wandb"),
}


def open_trackers(specs: Sequence[str]) -> dict[str, Tracker]:
    """The trackers that `--track` was given, each by its text; see `open_tracker`."""
    return {spec: open_tracker(spec) for spec in specs}


def open_tracker(text: str) -> Tracker:
    """The tracker that `text`, a NAME or NAME=WHERE, asks for. Nothing of it is loaded or made yet.

    Raises `ValueError` in one sentence for an unknown one, one whose package is missing, or one that lacks
    its WHERE.
    """
    name, _, where = text.partition("=")
    refuse_unknown([name], TRACKERS, "--track")
    known = TRACKERS[name]
    if known.needs and not where:
        raise ValueError(f"--track {name} needs {known.needs}; write --track {name}=runs/{name}")
    if importlib.util.find_spec(known.package) is None:
        raise ValueError(
            f"--track {name} needs a package that is not installed; install it with: "
            f"pip install 'vitscale[{name}]'"
        )
    return known.make(where)

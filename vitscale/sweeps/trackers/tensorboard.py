"""TensorBoard: a folder of event files for each trial, with its hyper-parameters, without TensorFlow."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.trackers.tracker import EndState, config_of

_FLUSH_S = 10


class TensorBoard:
    """Writes below `folder`, one folder for each trial, named by its id. A trial that is taken up again gets
    a further file there."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self.place = str(self._folder.absolute())
        self._writers: dict[str, Any] = {}

    def start(self, trial: Trial, plan: str) -> None:
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        path = self._folder / trial.id
        self._writers[trial.id] = EventFileWriter(str(path), flush_secs=_FLUSH_S)
        told = summary_v2.hparams_pb({**config_of(trial), "plan": plan}, trial_id=trial.id)
        self._add(trial.id, 0, told)

    def progress(self, trial_id: str, step: int, values: Mapping[str, float]) -> None:
        self._add(trial_id, step, _scalars(values))

    def measured(self, trial_id: str, examples: int, values: Mapping[str, float]) -> None:
        self._add(trial_id, examples, _scalars(values))
        self._writers[trial_id].flush()

    def end(self, trial_id: str, state: EndState) -> None:
        self._add(trial_id, 0, _session_end(state))
        self._writers.pop(trial_id).close()

    def close(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    def _add(self, trial_id: str, step: int, summary: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary)  # pyright: ignore
        self._writers[trial_id].add_event(event)


# Generated modules, whose names no checker knows: hence the ignores.


def _scalars(values: Mapping[str, float]) -> Any:
    """A `Summary` of scalars. Other writers keep float32; here the very numbers of the store are kept."""
    import numpy as np
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.scalar import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    summary = summary_pb2.Summary()  # pyright: ignore
    for tag, value in values.items():
        summary.value.add(
            tag=tag,
            tensor=make_tensor_proto(np.float64(value)),
            metadata=metadata.create_summary_metadata(display_name="", description=""),
        )
    return summary


def _session_end(state: EndState) -> Any:
    """A `Summary` that tells the HParams plugin how the run ended."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    word = "STATUS_FAILURE" if state == "failed" else "STATUS_SUCCESS"
    info = plugin_data_pb2.SessionEndInfo(  # pyright: ignore
        status=api_pb2.Status.Value(word),  # pyright: ignore
        end_time_secs=time.time(),
    )
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)  # pyright: ignore
    summary = summary_pb2.Summary()  # pyright: ignore
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary

"""W&B: a run for each trial, with the trial's id; offline unless the user's environment says otherwise."""

import os
from collections.abc import Mapping
from typing import Any

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.trackers.tracker import STATE, TRAINING, EndState, config_of

_STEP, _EXAMPLES = f"{TRAINING}step", "examples"
_PATIENCE_S = 30


class WandB:
    """Records in `project`, by default WANDB_PROJECT or `vitscale`. Nothing is sent anywhere unless WANDB_MODE or
    WANDB_API_KEY is set: runs are left in the folder `wandb` (or below WANDB_DIR), for `wandb sync`."""

    def __init__(self, project: str) -> None:
        self._project = project or os.environ.get("WANDB_PROJECT", "vitscale")
        default = "online" if os.environ.get("WANDB_API_KEY") else "offline"
        self._mode: Any = os.environ.get("WANDB_MODE") or default
        folder = os.path.abspath(os.environ.get("WANDB_DIR") or ".")
        self.place = f"{self._project} {self._mode} {'' if self._mode == 'online' else folder}"
        self._runs: dict[str, Any] = {}
        self._started = False

    def start(self, trial: Trial, plan: str) -> None:
        if self._mode != "online":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing is sent unasked
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            finish_timeout=_PATIENCE_S,
            init_timeout=_PATIENCE_S,
            login_timeout=_PATIENCE_S,
        )
        self._started = True
        run = wandb.init(
            project=self._project,
            id=trial.id,
            name=trial.id,
            group=plan,
            config=dict(config_of(trial)),
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        run.define_metric(f"{TRAINING}*", step_metric=_STEP)
        run.define_metric("measured/*", step_metric=_EXAMPLES)
        self._runs[trial.id] = run

    def progress(self, trial_id: str, step: int, values: Mapping[str, float]) -> None:
        self._runs[trial_id].log({**values, _STEP: step})

    def measured(self, trial_id: str, examples: int, values: Mapping[str, float]) -> None:
        self._runs[trial_id].log({**values, _EXAMPLES: examples})

    def end(self, trial_id: str, state: EndState) -> None:
        run = self._runs.pop(trial_id)
        run.summary[STATE] = state
        run.finish(exit_code=1 if state == "failed" else 0)

    def close(self) -> None:
        """W&B's service has written all that it was told when this returns."""
        while self._runs:
            self._runs.popitem()[1].finish(exit_code=1)
        if self._started:
            import wandb

            wandb.teardown()

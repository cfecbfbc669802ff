"""`vitscale train`."""

import contextlib
import dataclasses
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from tyro.conf import Positional

from vitscale.commands.options import Groups
from vitscale.commands.output import print_json
from vitscale.commands.saying import log, note, warnings_as_notes
from vitscale.commands.track import close_tracking, open_trackers, start_tracking

if TYPE_CHECKING:
    from vitscale.scaling.evaluate.frozen import FrozenModel
    from vitscale.scaling.execution import Execution
    from vitscale.scaling.progress import Progress
    from vitscale.scaling.recipe import Recipe, Trial
    from vitscale.scaling.shape import Shape
    from vitscale.sweeps.store import Store
    from vitscale.sweeps.trackers.tracking import Tracking

_TELL_EVERY_S = 5.0
_PACE_AFTER_S = 2.0


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one ViT, or every trial of a plan in turn, in this process and over all of its devices.

    One trunk, a cooldown branch for each duration, and what each measures, into a store. Stopped at
    any moment, the same command goes on; SIGTERM saves and exits with code 75. With --multi-host the
    same command runs on every host of a cluster, and they train each trial together.

    WHAT is a named shape (S/16), its sizes, or a plan's TOML file.

    Examples:  vitscale train S/16 --recipe augreg --data tfds:imagenet2012 --examples 384e6 --store runs/s16
               vitscale train width=64,depth=4,mlp_dim=256,heads=4,patch=4 --examples 1e5 2e5 --store runs/tiny
               vitscale train big-star.toml --store runs/star --fsdp 8 --multi-host
    """

    groups: ClassVar[Groups] = {
        "What to train": ("recipe", "data", "examples", "set"),
        "The training step": ("layout", "remat", "attention", "micro_batches", "fsdp"),
        "Over several hosts": ("multi_host", "coordinator", "hosts", "host"),
    }

    what: Positional[str]
    """A named shape, sizes as width=...,depth=...,mlp_dim=...,heads=...,patch=..., or a TOML file."""
    store: Path
    """Folder of the measurements; made where it is missing."""
    recipe: str = "glyphs"
    """A named recipe to start from."""
    data: str = ""
    """Images to train on, instead of the recipe's: tfds:NAME, folder:PATH or npz:PATH."""
    examples: tuple[float, ...] = ()
    """Training lengths, in images seen."""
    set: tuple[str, ...] = ()
    """Changes to the recipe, such as learning_rate=1e-3 batch_size=256 crop=inception."""
    layout: Literal["auto", "unrolled", "scanned"] = "auto"
    """Blocks unrolled, or scanned so that compile time does not grow with depth."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass computes again to save memory: nothing, all but matrix products, all."""
    attention: Literal["auto", "xla", "cudnn"] = "auto"
    """Attention kernel; auto takes cuDNN's fused one where it can be had."""
    micro_batches: int = 1
    """Parts in which each batch is worked off, to fit the memory."""
    fsdp: int = 1
    """Devices that share one copy of the parameters."""
    multi_host: bool = False
    """Train together with the other hosts of the cluster that run this command."""
    coordinator: str | None = None
    """Address and port of the first host, where the cluster does not tell."""
    hosts: int | None = None
    """How many hosts, where the cluster does not tell."""
    host: int | None = None
    """Which host this is, from 0, where the cluster does not tell."""
    track: tuple[str, ...] = ()
    """Where to follow it besides: tensorboard=FOLDER, mlflow or mlflow=URI, wandb or wandb=PROJECT (offline
    unless WANDB_API_KEY is set)."""
    checkpoint_seconds: float = 60.0
    """A kill loses at most this much training."""
    weights: Path | None = None
    """Folder for the weights of every cooled-down model, as safetensors (see vitscale convert)."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(command: Train) -> int:
    from vitscale.scaling.data.catalog import check_trainable
    from vitscale.scaling.execution import Execution
    from vitscale.scaling.host_memory import keep_freed_memory
    from vitscale.sweeps.engines.devices import accelerators, set_compilation_cache
    from vitscale.sweeps.places.place import check_shared
    from vitscale.sweeps.preemption import PREEMPTED_EXIT, Preemption
    from vitscale.sweeps.store import Store

    trials = _trials(command)
    trackers = open_trackers(command.track)
    execution = Execution(
        layout=command.layout,
        remat=command.remat,
        attention=command.attention,
        micro_batches=command.micro_batches,
        fsdp=command.fsdp,
    )
    for trial in trials:
        check_trainable(trial.recipe)  # before anything is made
    set_compilation_cache()
    if not accelerators():
        keep_freed_memory()
    from vitscale.scaling import hosts
    from vitscale.scaling.mesh import device_mesh

    if command.multi_host:
        hosts.start(coordinator=command.coordinator, hosts=command.hosts, host=command.host)
        check_shared(command.store, hosts.count())
    for trial in trials:
        device_mesh(trial.recipe, execution)
    _prepare_weights(command.weights)
    store = Store.open(command.store, create=True)
    store.prepare()
    log.info("%d trials, measurements go to %s", len(trials), store.name)
    tracking = start_tracking(trackers if hosts.is_first() else {}, store)
    preempted = True
    try:
        with Preemption() as preemption:
            preempted = _train_all(command, trials, store, execution, preemption, tracking)
    finally:
        close_tracking(tracking, hurry=preempted)
    if preempted:
        return PREEMPTED_EXIT
    if hosts.is_first():
        _show(command, store, trials)
        _say_what_was_not_kept(command.weights, trials)
    return 0


def _train_all(
    command: Train,
    trials: "tuple[Trial, ...]",
    store: "Store",
    execution: "Execution",
    should_stop: Callable[[], bool],
    tracking: "Tracking | None",
) -> bool:
    """Train one trial after the other; whether that was cut short by being asked to go."""
    from vitscale.scaling import hosts
    from vitscale.scaling.trial import PreemptedError, run_trial

    done = [trial for trial in trials if set(trial.durations) <= store.measured(trial)]
    if tracking is not None:
        tracking.begin("train", done, begun_alone=False)
    for number, trial in enumerate(trials, 1):
        # One for all hosts: the others would find it taken by the first.
        lock = store.lock(trial) if hosts.is_first() else contextlib.nullcontext(True)
        with lock as free:
            if not hosts.first_says(free):
                raise RuntimeError(f"trial {trial.id} is being trained by another process here")
            try:
                with warnings_as_notes():
                    run_trial(
                        trial,
                        store,
                        on_progress=_teller(trial, f"{number}/{len(trials)}", tracking)
                        if hosts.is_first()
                        else None,
                        checkpoint_seconds=command.checkpoint_seconds,
                        execution=execution,
                        should_stop=should_stop,
                        on_model=_keeper(command.weights, trial),
                    )
            except PreemptedError as error:
                print(f"vitscale: {error}", file=sys.stderr)
                return True
        if tracking is not None and trial not in done:
            tracking.end(trial, "finished")
    return False


def _trials(command: Train) -> "tuple[Trial, ...]":
    from vitscale.scaling.data.catalog import check_trainable
    from vitscale.scaling.recipe import Trial

    if command.what.endswith(".toml"):
        from vitscale.sweeps.config import read_plan

        if command.examples or command.set or command.data:
            raise ValueError(
                f"{command.what} says what to train; change --examples, --set and --data in it"
            )
        return read_plan(command.what).trials
    # What is misspelt is said before what does not add up.
    shape = _shape(command.what)
    recipe = _recipe(command)
    if not command.examples:
        raise ValueError("name one training length or more, in images seen: --examples 1e6 4e6")
    check_trainable(recipe)
    batches = sorted({round(examples / recipe.batch_size) for examples in command.examples})
    if batches[0] < 1 or len(batches) < len(command.examples):
        raise ValueError(
            f"--examples {' '.join(f'{examples:g}' for examples in command.examples)}: lengths are "
            f"rounded to whole batches of {recipe.batch_size}, and must be different ones; use other "
            f"lengths, or --set batch_size=..."
        )
    durations = tuple(count * recipe.batch_size for count in batches)
    return (Trial(shape=shape, recipe=recipe, durations=durations),)


def _shape(text: str) -> "Shape":
    from vitscale.scaling.shape import Shape, named_shape
    from vitscale.sweeps.decode import decode

    if "=" not in text:
        return named_shape(text)
    return decode(Shape, _table(text.split(",")), "shape")


def _recipe(command: Train) -> "Recipe":
    """The named recipe with the changes that the command asks for."""
    from vitscale.scaling.recipe import Recipe
    from vitscale.scaling.recipes import RECIPES
    from vitscale.sweeps.decode import decode, refuse_unknown

    refuse_unknown([command.recipe], RECIPES, "--recipe")
    changes = _table(command.set)
    if command.data:
        changes["data"] = command.data
    return decode(Recipe, dataclasses.asdict(RECIPES[command.recipe]) | changes, "recipe")


def _table(pairs: "tuple[str, ...] | list[str]") -> dict[str, Any]:
    """KEY=VALUE pairs as TOML has them; a value that is no number, list or true is text."""
    table = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is no change; write it as KEY=VALUE")
        try:
            table[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key.strip()] = value.strip()
    return table


class _Pace:
    """Steps a second by the wall clock, since the first report of a phase.

    What devices were given and not yet asked for would make the last moments of a run look far too fast.
    """

    def __init__(self) -> None:
        self._phase, self._step, self._at = "", 0, 0.0

    def seen(self, progress: "Progress", now: float) -> float | None:
        """The pace so far; None at the beginning, where it would be that of a few steps, and in evaluation."""
        if progress.phase != self._phase:
            self._phase, self._step, self._at = progress.phase, progress.step, now
        elapsed = now - self._at
        if progress.phase == "evaluate" or elapsed < _PACE_AFTER_S or progress.step <= self._step:
            return None
        return (progress.step - self._step) / elapsed


def _teller(
    trial: "Trial", number: str, tracking: "Tracking | None"
) -> "Callable[[Progress], None]":
    """Says where a trial is, every few seconds and at every change of phase; trackers hear it always."""
    told_at, told_phase = 0.0, ""
    began = time.monotonic()
    pace = _Pace()

    def tell(progress: "Progress") -> None:
        nonlocal told_at, told_phase
        if tracking is not None:
            tracking.hear(trial, progress)
        now = time.monotonic()
        steps_a_second = pace.seen(progress, now)
        if progress.phase == told_phase and now - told_at < _TELL_EVERY_S:
            return
        told_at, told_phase = now, progress.phase
        parts = [f"trial {number}", progress.phase, f"step {progress.step}/{progress.total_steps}"]
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.4f}")
        if steps_a_second:
            left = progress.total_steps - progress.step
            seconds = left / steps_a_second
            spent = (
                3.0 * trial.forward_flops_per_example() * trial.recipe.batch_size * progress.step
            )
            parts.append(f"{steps_a_second * trial.recipe.batch_size:,.0f} images/s")
            parts.append(f"{seconds:,.0f} s left")
            parts.append(f"{spent:.2e} FLOPs in {now - began:,.0f} s")
            if left and progress.input_wait is not None and progress.input_wait > 0.02:
                parts.append(f"{progress.input_wait:.0%} waiting for data")
        note(" · ".join(parts))

    return tell


def _prepare_weights(folder: Path | None) -> None:
    """Make the folder of the weights, before anything is trained for it."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--weights {folder} cannot be made ({error.strerror}); name a folder to write into"
        ) from None


def _say_what_was_not_kept(folder: Path | None, trials: "tuple[Trial, ...]") -> None:
    """Models that were measured before are not trained again for their weights."""
    if folder is None:
        return
    for trial in trials:
        for duration in trial.durations:
            if not (folder / f"{trial.id}-{duration}").exists():
                print(
                    f"vitscale: no weights of trial {trial.id} at {duration:,} images: it diverged, or "
                    f"was measured before without --weights; train it again with another --store",
                    file=sys.stderr,
                )


def _keeper(folder: Path | None, trial: "Trial") -> "Callable[[int, FrozenModel], None] | None":
    """Writes the weights of each cooled-down model, for `vitscale convert` to read."""
    if folder is None:
        return None

    def keep(duration: int, model: "FrozenModel") -> None:
        from vitscale.scaling import hosts
        from vitscale.scaling.models.weights import (
            LAYOUTS,
            VitSpec,
            new_folder,
            weights_from_params,
            write_safetensors,
        )

        params = hosts.whole(model.params)
        target = folder / f"{trial.id}-{duration}"
        if (
            not hosts.is_first() or target.exists()
        ):  # kept by an attempt that was killed before it measured
            return
        spec = VitSpec(
            shape=trial.shape,
            image_size=trial.recipe.image_size,
            channels=trial.recipe.channels,
            readout=trial.recipe.readout,
            classes=model.classes,
        )
        weights = weights_from_params(params, spec)
        layout = LAYOUTS["vitscale"]
        with new_folder(target) as aside:
            path = aside / "model.safetensors"
            write_safetensors(path, layout.write(weights), layout.metadata(spec))

    return keep


def _show(command: Train, store: "Store", trials: "tuple[Trial, ...]") -> None:
    """What was measured, as text or JSON."""
    columns = ["trial_id", "examples", "metric", "value", "value_sd", "status", "reason"]
    ids = {trial.id for trial in trials}
    records = cast("Any", store.read()).to_dict(orient="records")
    rows = [
        {name: None if row[name] != row[name] else row[name] for name in columns}
        for row in sorted(records, key=lambda row: (row["metric"], row["examples"]))
        if row["trial_id"] in ids
    ]
    if command.json:
        print_json({"store": str(command.store), "measurements": rows})
        return
    for trial in trials:
        print(f"trial {trial.id}: {trial.shape}")
        for row in rows:
            if row["trial_id"] == trial.id:
                print(f"  {row['examples']:>12,} images  {_measured(row)}")


def _measured(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    spread = "" if row["value_sd"] is None else f" (sd over draws {row['value_sd']:.4f})"
    return f"{row['metric']:<28} {row['value']:.4f}{spread}"

"""From runs of other tools to measurements: sizes, lengths and metrics read, checked, and named by hashes."""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from datetime import UTC, datetime
from typing import cast

import vitscale
from vitscale.scaling.measurement import Measurement
from vitscale.scaling.names import suggest
from vitscale.scaling.shape import Readout, Shape
from vitscale.sweeps.importers.fields import BadValue
from vitscale.sweeps.importers.foreign import TRACKED, ForeignRun, Source
from vitscale.sweeps.importers.known import Known, Lacking, length_of, shape_of
from vitscale.sweeps.importers.measured import measured, percent_columns
from vitscale.sweeps.importers.reading import Reading, Wish

METRIC_VERSION = 0
"""Of metrics that vitscale did not compute."""

_SHOWN = 5  # bad values or runs listed in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a run beside its shape and length. `recipe` are the values that tell recipes apart;
    `batch_size` is 0 where nobody knows."""

    image_size: int
    channels: int
    readout: Readout
    seed: int
    batch_size: int
    learning_rate: float | None
    data: str
    device: str
    train_seconds: float
    measured_at: str
    recipe: tuple[tuple[str, str], ...]

    @property
    def recipe_id(self) -> str:
        """Hash that imported runs of one recipe share, and no recipe of vitscale's own has."""
        return _digest({"imported": True, "image_size": self.image_size, "recipe": self.recipe})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Draft:
    """One measured model before its trial has a name."""

    run: ForeignRun
    shape: Shape
    setting: Setting
    examples: int
    train_flops: float
    values: dict[str, float]

    def identity(self, source: Source, repeat: int) -> str:
        """The trial's id: where it is from, and what it is."""
        known = dataclasses.asdict(self.setting)
        for name in ("device", "train_seconds", "measured_at"):
            del known[name]
        whence = {"tool": source.tool, "source": source.name, "run": self.run.key or repeat}
        return _digest({"imported": whence, "shape": dataclasses.asdict(self.shape), **known})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """The measurements of a source, by trial and examples, and which runs gave none."""

    rows: dict[tuple[str, int], list[Measurement]]
    where: dict[str, str]
    """What the source calls each trial."""
    unfinished: tuple[str, ...]
    unmeasured: tuple[str, ...]
    diverged: tuple[str, ...]
    others: int
    """Runs that `Wish.only` left out."""

    @property
    def recipes(self) -> int:
        """How many recipes the measurements are of."""
        return len({rows[0].recipe_id for rows in self.rows.values()})


def measurements(source: Source, reading: Reading, wish: Wish) -> Imported:
    """Every run of `source` as measurements.

    Raises `ValueError` in one sentence that names the rows and columns of values that cannot be, a run that
    is there twice, and shapes that were trained at several learning rates.
    """
    chosen = [run for run in source.runs if _is_chosen(run, wish, source)]
    finished = [run for run in chosen if wish.unfinished or _counts(run)]
    percents = percent_columns(finished, reading)
    drafts: list[_Draft] = []
    problems: list[str] = []
    unmeasured: list[str] = []
    for run in finished:
        try:
            found = _drafts(run, reading, wish, percents)
        except (BadValue, Lacking, ValueError) as error:
            problems.append(f"{run.where}: {error}")
            continue
        drafts += found
        if not found:
            unmeasured.append(run.where)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError(
            f"{source.name}: {'; '.join(problems[:_SHOWN])}{more}; nothing was imported"
        )
    if not drafts:
        raise ValueError(f"{source.name} holds no finished run that was measured; see --unfinished")
    if wish.recipe is None:
        _refuse_learning_rates(source, reading, drafts)
    rows, where = _rows(source, drafts)
    return Imported(
        rows=rows,
        where=where,
        unfinished=tuple(run.where for run in chosen if run not in finished),
        unmeasured=tuple(unmeasured),
        diverged=tuple(
            dict.fromkeys(where[key[0]] for key, found in rows.items() if found[0].value is None)
        ),
        others=len(source.runs) - len(chosen),
    )


def _is_chosen(run: ForeignRun, wish: Wish, source: Source) -> bool:
    for column, wanted in wish.only.items():
        if column not in source.columns:
            near = suggest(column, source.columns, listed=False).strip()
            raise ValueError(
                f"--only {column}={wanted}: {source.name} has no column {column!r}; "
                f"{near or 'name one that it has'}"
            )
        if str(run.values.get(column, "")).strip() != wanted:
            return False
    return True


def _counts(run: ForeignRun) -> bool:
    """Whether what was measured of `run` holds. Vitscale's own trials cool a model down for each measurement,
    so that those before a failure hold too."""
    return run.state != "unfinished" or TRACKED in run.values


def _drafts(run: ForeignRun, reading: Reading, wish: Wish, percents: set[str]) -> list[_Draft]:
    """The measured models of one run: one, or one for each point of its curves."""
    found = measured(run, reading, wish, percents)
    if not found:
        return []
    known = Known(run, reading)
    model = known.get("model")
    shape, image_size = shape_of(known, None if model is None else str(model))
    setting = _setting(known, run, reading, image_size)
    lengths = {point: length_of(known, point, run, wish) for point in found}
    forward = shape.forward_flops(
        image_size=image_size, channels=setting.channels, readout=setting.readout
    )
    counted = known.get("train_flops")
    longest = max(lengths.values())
    return [
        _Draft(
            run=run,
            shape=shape,
            setting=setting,
            examples=examples,
            train_flops=3.0 * forward * examples
            if counted is None
            else counted * examples / longest,
            values=found[point],
        )
        for point, examples in lengths.items()
    ]


def _setting(known: Known, run: ForeignRun, reading: Reading, image_size: int) -> Setting:
    recipe = [(column, str(run.values.get(column, "")).strip()) for column in reading.recipe]
    return Setting(
        image_size=image_size,
        channels=known.get("channels") or 3,
        readout=cast(Readout, known.get("readout") or "gap"),
        seed=known.get("seed") or 0,
        batch_size=known.get("batch_size") or 0,
        learning_rate=known.get("learning_rate"),
        data=known.get("data") or "unknown",
        device=known.get("device") or "unknown",
        train_seconds=known.get("train_seconds") or 0.0,
        measured_at=known.get("measured_at") or "",
        recipe=tuple(sorted(recipe)),
    )


def _refuse_learning_rates(source: Source, reading: Reading, drafts: list[_Draft]) -> None:
    """A fit takes the measurements of one recipe together, so a search for learning rates must be named."""
    rates: dict[tuple, set[float | None]] = {}
    for draft in drafts:
        key = (draft.shape, draft.setting.recipe_id)
        rates.setdefault(key, set()).add(draft.setting.learning_rate)
    several = [shape for (shape, _), found in rates.items() if len(found) > 1]
    if several and "recipe" not in reading.columns:
        column = reading.columns.get("learning_rate", "learning_rate")
        raise ValueError(
            f"{source.name} has several learning rates ({column}) for {several[0]}, which a fit would take "
            f"for noise; import one with --only {column}=VALUE, or keep them apart with --recipe {column}"
        )


def _rows(
    source: Source, drafts: list[_Draft]
) -> tuple[dict[tuple[str, int], list[Measurement]], dict[str, str]]:
    """Measurements by trial and examples, and what the source calls each trial."""
    seen: Counter[tuple[str, int, str]] = Counter()
    taken: dict[tuple[str, int, str], str] = {}
    parts: dict[tuple[str, int], list[tuple[_Draft, dict[str, float]]]] = {}
    where: dict[str, str] = {}
    for draft in drafts:
        names = sorted(draft.values)
        alike = (draft.identity(source, 0), draft.examples, names[0])
        trial_id = draft.identity(source, seen[alike])
        seen[alike] += 1
        for name in names:
            key = (trial_id, draft.examples, name)
            if key in taken:
                raise ValueError(
                    f"{source.name}: {draft.run.where} is {taken[key]} again, with the same shape and "
                    f"{draft.examples:,} examples; remove one of them, or name a column that tells runs "
                    f"apart with --map run=COLUMN; nothing was imported"
                )
            taken[key] = draft.run.where
        where.setdefault(trial_id, draft.run.where)
        parts.setdefault((trial_id, draft.examples), []).append((draft, draft.values))
    rows: dict[tuple[str, int], list[Measurement]] = {}
    paid: dict[str, float] = {}
    order = {trial_id: place for place, trial_id in enumerate(where)}
    for trial_id, examples in sorted(parts, key=lambda key: (order[key[0]], key[1])):
        found = parts[trial_id, examples]
        draft = found[0][0]
        spent = draft.train_flops - (paid.get(trial_id, 0.0) if draft.run.key else 0.0)
        paid[trial_id] = draft.train_flops
        values = {name: value for _, part in found for name, value in part.items()}
        rows[trial_id, examples] = _measurements(source, draft, trial_id, max(spent, 0.0), values)
    return rows, where


def _measurements(
    source: Source, draft: _Draft, trial_id: str, spent_flops: float, values: dict[str, float]
) -> list[Measurement]:
    """The rows of one model; a single one that says so where it diverged."""
    setting, shape = draft.setting, draft.shape
    infinite = [name for name, value in sorted(values.items()) if not math.isfinite(value)]
    reason = f"{infinite[0] or 'it'} was not finite where it was logged" if infinite else ""
    common = Measurement(
        trial_id=trial_id,
        recipe_id=setting.recipe_id,
        data=setting.data,
        **dataclasses.asdict(shape),
        image_size=setting.image_size,
        channels=setting.channels,
        readout=setting.readout,
        seed=setting.seed,
        batch_size=setting.batch_size,
        params=shape.params(
            image_size=setting.image_size, readout=setting.readout, channels=setting.channels
        ),
        forward_flops_per_example=shape.forward_flops(
            image_size=setting.image_size, readout=setting.readout, channels=setting.channels
        ),
        steps=draft.examples // setting.batch_size if setting.batch_size else 0,
        examples=draft.examples,
        train_flops=draft.train_flops,
        spent_flops=spent_flops,
        status="diverged" if infinite else "ok",
        reason=reason,
        metric="",
        metric_version=METRIC_VERSION,
        value=None,
        value_sd=None,
        draws=0 if infinite else 1,
        train_seconds=setting.train_seconds,
        eval_seconds=0.0,
        device=setting.device,
        vitscale_version=vitscale.__version__,
        measured_at=setting.measured_at or datetime.now(UTC).isoformat(timespec="seconds"),
        learning_rate=setting.learning_rate,
        origin=f"{source.tool}:{source.name}/{draft.run.key or draft.run.where}",
    )
    if infinite:
        return [common]
    return [
        dataclasses.replace(common, metric=name, value=value)
        for name, value in sorted(values.items())
    ]


def _digest(value: dict) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]

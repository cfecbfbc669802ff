"""From what was measured to a plan of what to measure next: `vitscale advise`."""

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vitscale.fits.columns import series, where
from vitscale.fits.design.advice import Advice
from vitscale.fits.design.advise import advise
from vitscale.fits.design.candidates import Space, more_durations
from vitscale.fits.design.compute_model import table_space
from vitscale.fits.store_fit import default_metric
from vitscale.fits.store_tables import is_store, measured, star_table_from_store
from vitscale.fits.tables import star_table
from vitscale.scaling.recipe import Trial
from vitscale.scaling.shape import DIMENSIONS, Shape
from vitscale.sources import read_source
from vitscale.sweeps.plan import GridSweep, Part, Plan, StarSweep, shared_trunks
from vitscale.sweeps.presets import preset
from vitscale.sweeps.recorded import recorded
from vitscale.sweeps.store import Store

PLAN_NAME = "advice"

_MLP_MULTIPLE = 16  # MLP sizes are multiples of it where all those measured are
_COUNTED_ALIKE = 0.01  # relative difference in compute within which a table was counted as we count


def advise_path(
    source: str | Path, budget: float, *, columns: dict[str, Any] | None = None, **options: Any
) -> tuple[Advice, Plan | None]:
    """Advice for the store or the table at `source`; see `advise_store` and `advise_table`.

    `columns` go to `star_table` and are refused for a store; `metric` and `recipe` are for a store.
    """
    frame = read_source(source)
    given = {name: value for name, value in (columns or {}).items() if value is not None}
    if is_store(frame):
        if given:
            raise ValueError(
                f"{', '.join(given)}: {source} is a store, whose columns are known; choose its rows "
                f"with --metric and --recipe"
            )
        return advise_store(Store.open(source), budget, **options)
    for name in ("metric", "recipe"):
        if options.pop(name, None) is not None:
            raise ValueError(
                f"--{name} chooses among the rows of a store, but {source} is not one; name its "
                f"columns instead"
            )
    return advise_table(frame, budget, columns=given, **options)


def advise_store(
    store: Store,
    budget: float,
    *,
    metric: str | None = None,
    recipe: str | None = None,
    **options: Any,
) -> tuple[Advice, Plan | None]:
    """What to train next into `store` for `budget` training FLOPs, and the plan that does it.

    The star's centre, heads and recipe are those of the plan that the store recorded. The plan is None
    where the advice is to train nothing. `options` go to `vitscale.fits.advise.advise`.

    Raises `ValueError` where the store holds no star, or no plan that it came from.
    """
    found = measured_star(store, metric=metric, recipe=recipe)
    return advise_star(found, budget, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredStar:
    """What a store measured of its star: `star` with the durations and seeds that were measured, its
    canonical `table`, and the seed of each trial, by id."""

    star: StarSweep
    table: pd.DataFrame
    seeds: dict[str, int]


def measured_star(
    store: Store, *, metric: str | None = None, recipe: str | None = None
) -> MeasuredStar:
    """The star of `store`, by the plan that it recorded.

    Raises `ValueError` where the store holds no star, or no plan that it came from.
    """
    frame = read_source(store.name)
    metric = metric or default_metric(frame)
    rows, _ = measured(frame, metric, recipe)
    star = _recorded_star(store, rows)
    table = _store_table(frame, rows, star, metric, recipe)
    seeds = dict(zip(rows["trial_id"].astype(str), rows["seed"].astype(int), strict=True))
    kept = where(rows, series(rows, "trial_id").astype(str).isin(set(table["model"])))
    lengths = _common_durations(series(kept, "trial_id"), series(kept, "examples"))
    star = dataclasses.replace(
        star, durations=lengths, seeds=tuple(sorted(set(seeds.values()))), only=()
    )
    return MeasuredStar(star=star, table=table, seeds=seeds)


def advise_star(
    found: MeasuredStar, budget: float, *, name: str = PLAN_NAME, **options: Any
) -> tuple[Advice, Plan | None]:
    """Advice for a star that was measured, and the plan called `name`; see `advise_store`."""
    space = star_space(found.star, found.table, found.seeds)
    advice = advise(found.table, space, budget, **options)
    return advice, plan_of(advice, found.star, found.table, name)


def advise_table(
    frame: pd.DataFrame, budget: float, *, columns: dict[str, Any] | None = None, **options: Any
) -> tuple[Advice, Plan | None]:
    """What to train next beside the star of a table of the user's own.

    There is a plan only where the table has the shapes and images of Getting ViT in Shape's sweep
    (columns `width`, `depth`, `mlp_dim`, `images`, compute counted as there); a note says so otherwise.

    Raises `ValueError` as `star_table`, `table_space` and `vitscale.fits.advise.advise`.
    """
    table = star_table(frame, **(columns or {}))
    star = _sovit_star(frame, table)
    if star is not None:
        advice = advise(table, star_space(star, table, {}), budget, **options)
        return advice, plan_of(advice, star, table)
    advice = advise(table, table_space(table), budget, **options)
    note = (
        "the table does not say how its networks were trained, so there is no plan to run and costs "
        "are scaled from its compute; for a plan, give a store"
    )
    return dataclasses.replace(advice, notes=(*advice.notes, note)), None


def star_space(star: StarSweep, table: pd.DataFrame, seeds: dict[str, int]) -> Space:
    """What may be trained beside the measured `star` (its durations are those measured)."""
    unit = table.attrs["flops_per_unit"]
    lengths = star.durations

    def shape(dimension: str, size: int) -> Shape:
        same = getattr(star.center, dimension) == size
        return star.center if same else star.shape_at(dimension, size)

    def flops(dimension: str, size: int, durations: tuple[float, ...]) -> float:
        whole = tuple(int(duration) for duration in durations)
        try:
            trials = [
                Trial(shape=shape(dimension, size), recipe=star.recipe, durations=shared)
                for shared in shared_trunks(star.recipe, whole)
            ]
        except ValueError:  # a cooldown inside the warmup: such a network cannot be trained
            return math.inf
        return sum(trial.spent_flops() for trial in trials)

    def compute(dimension: str, size: int, duration: float) -> float:
        trial = Trial(shape=shape(dimension, size), recipe=star.recipe, durations=lengths[:1])
        return 3.0 * trial.forward_flops_per_example() * duration / unit

    return Space(
        multiples=multiples_of(star),
        center={name: getattr(star.center, name) for name in DIMENSIONS},
        measured=lengths,
        durations=more_durations(lengths, multiple=star.recipe.batch_size),
        compute=compute,
        flops=flops,
        seeds=seeds,
        shape=shape,
    )


def plan_of(
    advice: Advice, star: StarSweep, table: pd.DataFrame, name: str = PLAN_NAME
) -> Plan | None:
    """The measured star with the advised trials, which alone are to be trained; None without any."""
    if not advice.trials:
        return None
    parts: dict[tuple, set[int]] = {}
    for trial in advice.trials:
        size = None if trial.dimension is None else trial.size
        lengths = tuple(int(duration) for duration in trial.durations)
        parts.setdefault((trial.dimension, size, lengths), set()).add(trial.seed)
    arms = {}
    for dimension in DIMENSIONS:
        sizes = {int(x) for x in where(table, series(table, "dimension") == dimension)["x"]}
        new = {trial.size for trial in advice.trials if trial.dimension == dimension}
        arms[dimension] = tuple(sorted((sizes | new) - {getattr(star.center, dimension)}))
    return Plan(
        name=name,
        sweep=dataclasses.replace(
            star,
            arms=arms,
            durations=tuple(sorted({*star.durations, *(d for key in parts for d in key[2])})),
            seeds=tuple(sorted({*star.seeds, *(seed for own in parts.values() for seed in own)})),
            only=tuple(
                Part(dimension=dimension, size=size, seeds=tuple(sorted(own)), durations=lengths)
                for (dimension, size, lengths), own in parts.items()
            ),
        ),
    )


def _recorded_star(store: Store, rows: pd.DataFrame) -> StarSweep:
    """The star sweep of the store that most of the measured shapes are of."""
    recipe = rows["recipe_id"].iloc[0]
    sweeps = [plan.sweep for plan in recorded(store)]
    stars = [s for s in sweeps if isinstance(s, StarSweep) and s.recipe.id == recipe]
    if not stars:
        raise ValueError(
            f"{store.name} recorded no star sweep of recipe_id={recipe}, so what to train cannot be "
            f"planned; run one into it with: vitscale sweep star"
        )
    shapes = set(map(tuple, rows[list(DIMENSIONS)].to_numpy(int).tolist()))

    def known(star: StarSweep) -> int:
        return sum((s.width, s.depth, s.mlp_dim) in shapes for s in star.shapes())

    return max(stars, key=known)


def _store_table(
    frame: pd.DataFrame, rows: pd.DataFrame, star: StarSweep, metric: str | None, recipe: str | None
) -> pd.DataFrame:
    """The canonical table of `star`, also where its centre was not measured."""
    center = (star.center.width, star.center.depth, star.center.mlp_dim)
    differs = rows[list(DIMENSIONS)].to_numpy(int) != np.array(center)
    if not differs.any(axis=1).all():
        return star_table_from_store(frame, metric, recipe, center)
    arms = where(rows, differs.sum(axis=1) == 1)
    if arms.empty:
        raise ValueError("the store holds nothing of its star yet; run its plan first")
    arm = differs[differs.sum(axis=1) == 1].argmax(axis=1)
    sizes = arms[list(DIMENSIONS)].to_numpy(int)[np.arange(len(arm)), arm]
    named = arms.assign(dimension=np.array(DIMENSIONS)[arm], x=sizes)
    table = star_table(named, compute="train_flops", error="value", model="trial_id")
    table.attrs["metric"] = str(rows["metric"].iloc[0])
    return table


def _common_durations(network: pd.Series, examples: pd.Series) -> tuple[int, ...]:
    """Durations of at least half of the networks; all where networks have one duration each."""
    pairs = set(zip(network.astype(str), examples.astype(int), strict=True))
    networks = len({name for name, _ in pairs})
    counts = Counter(duration for _, duration in pairs)
    common = sorted(duration for duration, count in counts.items() if 2 * count >= networks)
    return tuple(common) or tuple(sorted(counts))


def multiples_of(sweep: StarSweep | GridSweep) -> dict[str, int]:
    """What sizes must be multiples of: heads or channels of a head, and what MLP sizes share."""
    if isinstance(sweep, GridSweep):
        heads, mlp_dims = sweep.heads, sweep.mlp_dims
    else:
        heads, mlp_dims = sweep.center.heads, (sweep.center.mlp_dim, *sweep.arms.get("mlp_dim", ()))
    width = sweep.head_dim or heads
    assert width is not None  # a grid has one of the two
    return {"width": width, "depth": 1, "mlp_dim": math.gcd(_MLP_MULTIPLE, *mlp_dims)}


def _sovit_star(frame: pd.DataFrame, table: pd.DataFrame) -> StarSweep | None:
    """The star of Getting ViT in Shape that `frame` was measured on; None where it is another."""
    published = preset("sovit-star").sweep
    assert isinstance(published, StarSweep)
    wanted = {*DIMENSIONS, "images"}
    named = set(table["dimension"]) <= set(DIMENSIONS)
    if not (named and wanted <= set(frame.columns) and table.attrs["flops_per_unit"]):
        return None
    name = table["dimension"].to_numpy()
    sizes = {k: sorted(set(frame.loc[name != k, k])) for k in DIMENSIONS}
    if any(len(values) != 1 for values in sizes.values()):
        return None
    center = {k: int(values[0]) for k, values in sizes.items()}
    arms = {k: sorted(set(table.loc[name == k, "x"].astype(int)) - {center[k]}) for k in center}
    try:
        star = dataclasses.replace(
            published,
            center=dataclasses.replace(published.center, **center),
            arms={k: tuple(values) for k, values in arms.items()},
            durations=_common_durations(series(table, "model"), series(frame, "images")),
        )
    except ValueError:
        return None
    return star if _counted_alike(star, frame, table) else None


def _counted_alike(star: StarSweep, frame: pd.DataFrame, table: pd.DataFrame) -> bool:
    """Whether the table's compute is the training FLOPs of the star's trials."""
    space = star_space(star, table, {})
    columns = (table["dimension"], table["x"], frame["images"], table["compute"])
    return all(
        abs(space.compute(k, int(x), images) / t - 1) < _COUNTED_ALIKE
        for k, x, images, t in zip(*columns, strict=True)
    )

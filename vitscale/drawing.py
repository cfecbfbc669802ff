"""All figures that a store or a table allows, one after another, and why not for the others."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vitscale.fits import plots
from vitscale.fits.columns import column_of, positive, refuse_bad, require, series
from vitscale.fits.fit_file import FitFile
from vitscale.fits.frontier import FrontierFit, FrontierLaw, fit_frontier
from vitscale.fits.prediction.backtest import Backtest, backtest_star_at
from vitscale.fits.prediction.coverage import backtest_coverage
from vitscale.fits.store_fit import default_metric
from vitscale.fits.store_tables import is_store, measured
from vitscale.fits.tables import FLOPS_PER_UNIT
from vitscale.scaling.progress import Speed
from vitscale.scaling.shape import DIMENSIONS
from vitscale.sweeps.preview import Preview, TrialCost, preview
from vitscale.sweeps.recorded import recorded
from vitscale.sweeps.store import Store
from vitscale.sweeps.stored_speed import stored_speed

_LEVELS = (0.5, 0.8, 0.9)
_SHOWN_LEVEL = 0.9
_RESAMPLES = 200
_TRIAL_LABEL = "trial (width × depth × mlp_dim)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of a table's columns and choices in a store, as `vitscale fit` takes them; None for the default."""

    compute: str | None = None
    error: str | None = None
    metric: str | None = None
    recipe: str | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True)
class Material:
    """What there is to draw from.

    - `frame`: rows of a store or a table. `store`: where the rows come from one.
    - `fit`: fits the star in it, giving the fit and its table; raises `ValueError` where there is none.
    """

    frame: pd.DataFrame
    columns: Columns
    store: Store | None
    fit: Callable[[], tuple[FitFile, pd.DataFrame]]

    @cached_property
    def _fitted(self) -> tuple[FitFile, pd.DataFrame] | ValueError:
        # Kept also where it fails, so that it is not tried again for each figure.
        try:
            fit_file, table = self.fit()
        except ValueError as error:
            return error
        return fit_file, with_examples(table, self.frame)

    @property
    def fitted(self) -> tuple[FitFile, pd.DataFrame]:
        """The star's fit and table, with the training lengths in images where they are known.

        Raises `ValueError` where there is none.
        """
        if isinstance(self._fitted, ValueError):
            raise self._fitted.with_traceback(None)
        return self._fitted

    @cached_property
    def backtests(self) -> tuple[Backtest, ...]:
        """Back-tests of the star at several levels. Raises `ValueError` where it is too small."""
        return backtest_star_at(self.fitted[1], levels=_LEVELS)

    @cached_property
    def runs(self) -> dict[str, Any]:
        """All runs for `plots.frontier_figure`: those of one metric of a store, or of a table."""
        if is_store(self.frame):
            metric = self.columns.metric or default_metric(self.frame)
            rows, _ = measured(self.frame, metric, self.columns.recipe)
            return {
                "compute": rows["train_flops"].to_numpy(float),
                "error": rows["value"].to_numpy(float),
                "size": rows["params"].to_numpy(float),
                "model": rows["trial_id"].astype(str).to_numpy(),
                "metric": str(rows["metric"].iloc[0]),
                "compute_unit": "train_flops",
            }
        return _runs_of_table(self.frame, self.columns)

    @cached_property
    def frontier(self) -> tuple[FrontierFit | None, dict[str, FrontierFit]]:
        """The law along the frontier of `runs`, and the other one to compare it with.

        None where the frontier has too few runs for any.
        """
        runs, found = self.runs, {}
        for law in get_args(FrontierLaw):
            try:
                found[f"{law} law"] = fit_frontier(
                    runs["compute"],
                    runs["error"],
                    law=law,
                    model=runs.get("model"),
                    resamples=0 if found else _RESAMPLES,
                )
            except ValueError:
                continue  # too few runs on the frontier for this law, but perhaps not for the other
        fit = next(iter(found.values()), None)
        return fit, {name: law for name, law in found.items() if law is not fit}

    @cached_property
    def shapes(self) -> dict[str, str]:
        """In a store, the shape of each trial in words."""
        if not is_store(self.frame):
            return {}
        rows = self.frame.drop_duplicates("trial_id")
        columns = [rows[name].tolist() for name in ("trial_id", *DIMENSIONS, "heads")]
        return {
            str(trial): f"width {width}, depth {depth}, mlp_dim {mlp_dim}, {heads} heads"
            for trial, width, depth, mlp_dim, heads in zip(*columns, strict=True)
        }


def with_examples(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The star table with the images that each run saw, where the rows it was made of tell them."""
    if is_store(frame):
        seen = frame.drop_duplicates(["trial_id", "train_flops"])
        keys = zip(seen["trial_id"].astype(str), seen["train_flops"].astype(float), strict=True)
        examples = dict(zip(keys, seen["examples"].astype(float), strict=True))
        rows = zip(table["model"], table["compute"], strict=True)
        found = [examples.get((str(model), float(compute))) for model, compute in rows]
        return table if None in found else table.assign(examples=found)
    name = next((name for name in ("examples", "images") if name in frame.columns), None)
    if name is None or len(frame) != len(table):
        return table
    values = positive(frame, name).to_numpy(float)
    return table.assign(examples=values) if (values > 0).all() else table


def _runs_of_table(frame: pd.DataFrame, columns: Columns) -> dict[str, Any]:
    names = {
        "compute": column_of(frame, "compute", columns.compute, ["compute", *FLOPS_PER_UNIT]),
        "error": column_of(frame, "error", columns.error, ["error"]),
    }
    needed = require(frame, names, ("compute", "error"))
    numbers = {key: positive(frame, name) for key, name in needed.items()}
    refuse_bad(frame, {name: numbers[key] for key, name in needed.items()})
    runs = pd.DataFrame(numbers).drop_duplicates()  # the centre of a star stands under every arm
    found: dict[str, Any] = {
        "compute": runs["compute"].to_numpy(float),
        "error": runs["error"].to_numpy(float),
        "metric": needed["error"],
        "compute_unit": needed["compute"],
    }
    if columns.model is not None:
        own = series(frame, str(column_of(frame, "model", columns.model)))
        found["model"] = own.loc[runs.index].astype(str).to_numpy()
    return found


def _star(material: Material) -> Figure:
    fit_file, table = material.fitted
    return plots.star_figure(table, fit_file.fit)


def _isoflop(material: Material) -> Figure:
    fit_file, table = material.fitted
    return plots.isoflop_figure(table, fit_file.fit)


def _parity(material: Material) -> Figure:
    fit_file, table = material.fitted
    return plots.parity_figure(table, fit_file.fit)


def _profiles(material: Material) -> Figure:
    return plots.profile_figure(material.fitted[0].fit)


def _optimal_shape(material: Material) -> Figure:
    fit_file, _ = material.fitted
    return plots.optimal_shape_figure(fit_file.rule(), fit_file.fit)


def _frontier(material: Material) -> Figure:
    fit, others = material.frontier
    return plots.frontier_figure(**material.runs, fit=fit, others=others)


def _backtest(material: Material) -> Figure:
    (test,) = (test for test in material.backtests if test.level == _SHOWN_LEVEL)
    return plots.backtest_figure(test, metric=material.fitted[0].fit.metric)


def _coverage(material: Material) -> Figure:
    return plots.coverage_figure(backtest_coverage(material.backtests), what="runs inside")


def _plan_cost(material: Material) -> Figure:
    store = material.store
    plans = [] if store is None else recorded(store)
    if store is None or not plans:
        raise ValueError("no plan is recorded here; plans are kept in the store of a sweep")
    speed = stored_speed(store, ())
    done, resumable = store.measured_durations(), store.resumable()
    bills = [preview(plan, measured=done, resumable=resumable) for plan in plans]
    costs = pd.concat([cost_table(bill, speed) for bill in bills], ignore_index=True)
    names = " and ".join(dict.fromkeys(plan.name for plan in plans))
    return plots.plan_cost_figure(
        costs.drop_duplicates("trial_id"),
        title=names,
        trial_label=_TRIAL_LABEL,
    )


def draw_plan(bill: Preview, path: Path, speed: Speed | None = None) -> Path:
    """Draw the bill of one plan; see `plots.plan_cost_figure`."""
    figure = plots.plan_cost_figure(
        cost_table(bill, speed), title=bill.plan.name, trial_label=_TRIAL_LABEL
    )
    return plots.save(figure, path)


def cost_table(bill: Preview, speed: Speed | None = None) -> pd.DataFrame:
    """The bill of a plan as `plots.plan_cost_figure` takes it; hours of what remains at `speed`."""
    return pd.DataFrame([_cost_row(cost, speed) for cost in bill.costs])


def _cost_row(cost: TrialCost, speed: Speed | None) -> dict[str, Any]:
    trial, shape = cost.trial, cost.trial.shape
    per_step = cost.spent_flops / trial.spent_steps()
    trunk = max(trial.trunk_steps(duration) for duration in trial.durations) * per_step
    seconds = 0.0
    if speed is not None and cost.remaining_durations:
        seconds = speed.seconds(steps=cost.remaining_steps, flops=cost.remaining_flops)
    seed = f", seed {trial.recipe.seed}" if trial.recipe.seed else ""
    return {
        "trial_id": trial.id,
        "trial": f"{shape.width} × {shape.depth} × {shape.mlp_dim}{seed}",
        "trunk_flops": trunk,
        "cooldown_flops": cost.spent_flops - trunk,
        "remaining_flops": cost.remaining_flops,
        "hours": np.nan if speed is None else seconds / 3600,
    }


FIGURES: Mapping[str, Callable[[Material], Figure]] = {
    "star": _star,
    "isoflop": _isoflop,
    "parity": _parity,
    "profiles": _profiles,
    "optimal_shape": _optimal_shape,
    "frontier": _frontier,
    "backtest": _backtest,
    "coverage": _coverage,
    "plan_cost": _plan_cost,
}
"""Every figure of a source, by name; each raises `ValueError`, in a sentence, where the data do not allow it."""


def _star_page(material: Material, path: Path) -> Path:
    from vitscale.fits.plots import interactive

    fit_file, table = material.fitted
    return interactive.save(
        interactive.star_figure(table, fit_file.fit, shapes=material.shapes), path
    )


def _optimal_shape_page(material: Material, path: Path) -> Path:
    from vitscale.fits.plots import interactive

    fit_file, _ = material.fitted
    return interactive.save(interactive.optimal_shape_figure(fit_file.rule(), fit_file.fit), path)


def _frontier_page(material: Material, path: Path) -> Path:
    from vitscale.fits.plots import interactive

    fit, others = material.frontier
    page = interactive.frontier_figure(
        **material.runs, fit=fit, others=others, shapes=material.shapes
    )
    return interactive.save(page, path)


PAGES: Mapping[str, Callable[[Material, Path], Path]] = {
    "star": _star_page,
    "optimal_shape": _optimal_shape_page,
    "frontier": _frontier_page,
}
"""Those that are also written as pages, by name; they need plotly."""

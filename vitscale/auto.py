"""A star that buys its own trials: run, fit, ask what to train next, until the optimum is known well enough.

Every round is a plan of its own, recorded in the store before it is run. A round that was recorded is
finished as it is, and the next follows from what the rounds before it measured and what they cost. A
loop that is killed at any moment therefore goes on where it was, and the store is its only memory.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Sequence

from vitscale.advise import MeasuredStar, advise_star, measured_star
from vitscale.auto_result import ROUNDS, TARGET, Auto, Goal, Known, Look, is_reached
from vitscale.extend import RunPlan
from vitscale.fits.answer import Answer, answer
from vitscale.fits.design.advice import Advice
from vitscale.fits.shape_law import fit_star
from vitscale.fits.star_fit import DimensionFit, StarFit
from vitscale.fits.store_fit import fit_store
from vitscale.scaling.shape import DIMENSIONS
from vitscale.sweeps.affordable import affordable_part, flops_of, longest_run
from vitscale.sweeps.config import plan_from_toml
from vitscale.sweeps.plan import Plan, StarSweep
from vitscale.sweeps.run import Limits, RunReport
from vitscale.sweeps.store import Store
from vitscale.sweeps.work import is_done

SHARE = 1 / 3
"""What a round may cost, as a part of all that was spent before it: later rounds know more, so they may
spend more."""

_HOPELESS = 100.0  # an expected factor beyond it says that nothing is known
_FEWEST_SIZES = 3  # of an arm that is fitted
_NAME = 64  # characters of a plan's name


def run_auto(
    plan: Plan,
    run_plan: RunPlan,
    store: Store,
    goal: Goal,
    *,
    max_hours: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Auto:
    """Run the star `plan`, then what is advised, until `goal` is reached or nothing more can be bought.

    `say` is told of each round in a line.

    Raises `ValueError` as `refuse_unusable`, and where not even a trial of the star can be paid for.
    """
    rounds = recorded_rounds(plan, store)
    refuse_unusable(plan, store, rounds)
    looks: list[Look] = []
    reports: list[RunReport] = []
    done: list[Plan] = []
    ended, complete = "", True
    while not ended:
        if len(done) < len(rounds):
            chosen = rounds[len(done)]
        else:
            found = look(plan, done, store, goal)
            looks.append(found)
            say(found.line(goal.budget, goal.compute))
            if found.plan is None:
                ended = found.ended
                break
            chosen = found.plan
        done.append(chosen)
        if is_done(store, chosen):
            continue
        left = goal.budget - spent_flops(done, store)
        hours = None if max_hours is None else max_hours - _hours(reports)
        if left <= 0:
            ended = f"the budget is spent, before all of {chosen.name} was measured"
        elif hours is not None and hours <= 0:
            ended, complete = f"it has run for the {max_hours:g} hours that it may", False
        else:
            reports.append(run_plan(chosen, Limits(max_flops=left, max_hours=hours)))
            ended, complete = _ending(reports[-1], hours)
    hurry = bool(reports) and reports[-1].interrupted  # whoever asked may not wait for a fit
    if not looks or looks[-1].plan is not None:
        looks.append(dataclasses.replace(judge(done, store, goal, fit=not hurry), ended=ended))
    shape, no_shape = (None, "interrupted") if hurry else _shape(store, plan, goal)
    return Auto(
        goal=goal,
        store=store.name,
        looks=tuple(looks),
        reports=tuple(reports),
        ended=ended,
        complete=complete,
        shape=shape,
        no_shape=no_shape,
    )


def next_look(plan: Plan, store: Store | None, goal: Goal) -> tuple[Plan, Look | None]:
    """The round that `run_auto` would run next, or its last where it would run none; and the look that
    led to it, None where that round was recorded before.

    Raises `ValueError` as `run_auto`.
    """
    rounds = [] if store is None else recorded_rounds(plan, store)
    if store is not None:
        refuse_unusable(plan, store, rounds)
        for recorded in rounds:
            if not is_done(store, recorded):
                return recorded, None
    found = look(plan, rounds, store, goal)
    return found.plan or rounds[-1], found


def _ending(report: RunReport, hours: float | None) -> tuple[str, bool]:
    """Why the loop ends with this run, which might take so many `hours`; empty where it goes on. And
    whether it did what it was asked to."""
    again = "the same command goes on"
    if report.interrupted:
        return f"interrupted in {report.plan}; {again}", False
    if report.failed:
        return f"{len(report.failed)} trials of {report.plan} failed; {again} with them", False
    if report.complete:
        return "", True
    if hours is not None and report.wall_seconds >= 3600 * hours:
        return f"{report.plan} was stopped: {report.stopped}; {again}", False
    return f"the budget is spent: {report.stopped}", True


def _hours(reports: Sequence[RunReport]) -> float:
    return sum(report.wall_seconds for report in reports) / 3600


def look(plan: Plan, done: Sequence[Plan], store: Store | None, goal: Goal) -> Look:
    """What the measured rounds `done` came to, and the next round; `store` may be None before the first.

    Raises `ValueError` where not even the cheapest trial of the star `plan` can be paid for.
    """
    number = len(done) + 1
    name = round_name(plan, number)
    if not done or store is None:
        first, left_out = affordable_part(dataclasses.replace(plan, name=name), goal.budget)
        return Look(
            round=number, spent_flops=0.0, known=(), plan=first, why=_first(first, left_out)
        )
    try:
        measured = measured_star(store, metric=goal.metric, recipe=plan.sweep.recipe.id)
        fit = _fit(measured, goal)
    except ValueError as error:
        return _more_of_the_star(plan, done, store, goal, str(error))
    found = Look(round=number, spent_flops=spent_flops(done, store), known=known_of(fit))
    if is_reached(found.known, goal.target):
        what = f"every interval is within a factor of {goal.target:g}"
        return dataclasses.replace(found, ended=what)
    if number > goal.rounds:
        return dataclasses.replace(found, ended=f"as many rounds as --rounds allows, {goal.rounds}")
    advice, advised = _advised(measured, fit, goal, found.spent_flops, name)
    if advised is None:
        why = advice.notes[0] if advice is not None and advice.notes else "nothing is left"
        return dataclasses.replace(found, ended=f"no further trial is worth its cost: {why}")
    if is_done(store, advised):
        what = "what is advised was tried, and diverged; lower the recipe's learning rate"
        return dataclasses.replace(found, ended=what)
    assert advice is not None
    return dataclasses.replace(found, plan=advised, why=_why(advice))


def judge(done: Sequence[Plan], store: Store, goal: Goal, *, fit: bool = True) -> Look:
    """What `done` has cost, and with `fit` how well the optimum is known after it."""
    known: tuple[Known, ...] = ()
    recipe = done[0].sweep.recipe.id
    # Too little may have been measured; what ended the loop says so.
    with contextlib.suppress(ValueError):
        if fit:
            known = known_of(_fit(measured_star(store, metric=goal.metric, recipe=recipe), goal))
    return Look(round=len(done) + 1, spent_flops=spent_flops(done, store), known=known)


def _more_of_the_star(
    plan: Plan, done: Sequence[Plan], store: Store, goal: Goal, problem: str
) -> Look:
    """Where what was measured cannot be fitted: what a larger budget covers of the star by now."""
    found = Look(round=len(done) + 1, spent_flops=spent_flops(done, store), known=())
    wider, left_out = affordable_part(
        dataclasses.replace(plan, name=round_name(plan, found.round)), goal.budget
    )
    if found.round <= goal.rounds and not is_done(store, wider):
        return dataclasses.replace(found, plan=wider, why=_first(wider, left_out))
    ended = f"what the budget covers of the star cannot be fitted: {problem}"
    return dataclasses.replace(found, ended=ended)


def _fit(measured: MeasuredStar, goal: Goal) -> StarFit:
    return fit_star(measured.table, resamples=0, t_ref=goal.compute)


def known_of(fit: StarFit) -> tuple[Known, ...]:
    """Of every dimension of a fit, what is known at its `t_ref`."""
    return tuple(_of_dimension(dimension) for dimension in fit.dimensions.values())


def _of_dimension(fit: DimensionFit) -> Known:
    return Known(
        dimension=fit.dimension,
        size=None if fit.x_star is None else fit.x_star.x,
        identified=fit.identified,
        flags=tuple(flag.sentence for flag in fit.flags),
    )


def _advised(
    measured: MeasuredStar, fit: StarFit, goal: Goal, spent: float, name: str
) -> tuple[Advice | None, Plan | None]:
    """What to train for a share of what was spent; where nothing so cheap helps, for more."""
    left, advice = goal.budget - spent, None
    budget = min(left, SHARE * spent)
    while left > 0:
        advice, plan = advise_star(measured, budget, name=name, at_flops=goal.compute, fit=fit)
        if plan is not None or budget >= left:
            return advice, plan
        budget = min(left, 2 * budget)
    return advice, None


def _first(plan: Plan, left_out: Sequence[str]) -> str:
    what = f"{len(plan.trials)} networks for {flops_of(plan):.3g} FLOPs"
    if not left_out:
        return f"the star, {what}"
    few = _too_few(plan)
    caution = f"; too few sizes of {', '.join(few)} to fit" if few else ""
    what = f"the part of the star that the budget covers, {what}, without {'; '.join(left_out)}"
    return what + caution


def _too_few(plan: Plan) -> list[str]:
    """Dimensions of which a star trains so few sizes that eq. (2) cannot be fitted."""
    shapes = {trial.shape for trial in plan.trials}
    star, found = _star(plan, whole=False), []
    for name in star.arms:
        others = [other for other in DIMENSIONS if other != name]
        on_arm = {
            getattr(shape, name)
            for shape in shapes
            if all(getattr(shape, other) == getattr(star.center, other) for other in others)
        }
        if len(on_arm) < _FEWEST_SIZES:
            found.append(name)
    return found


def _why(advice: Advice) -> str:
    """What is bought, and what is hoped of it."""
    count = len(advice.trials)
    what = list(dict.fromkeys(trial.where for trial in advice.trials))
    shown = ", ".join(what[:4]) + (", ..." if len(what) > 4 else "")
    hoped = ", ".join(f"{e.dimension} {_hoped(e.ratio_after)}" for e in advice.expectations)
    return (
        f"{count} network{'s' if count > 1 else ''} for {advice.flops:.3g} FLOPs ({shown}), as factors "
        f"are then expected to be {hoped}"
    )


def _hoped(ratio: float) -> str:
    """An expected factor; one without meaning is no number to read."""
    return f"{ratio:.3g}" if ratio < _HOPELESS else f"over {_HOPELESS:g}"


def round_name(plan: Plan, number: int) -> str:
    """What the round `number`, from 1 on, of a loop over `plan` is called."""
    ending = f"-auto-{number}"
    return plan.name[: _NAME - len(ending)] + ending


def recorded_rounds(plan: Plan, store: Store) -> list[Plan]:
    """The rounds of a loop over `plan` that `store` knows, in order."""
    named = {}
    for text in store.recorded_plans().values():
        if re.search(r"-auto-[0-9]+\"", text):  # cheaper than to read the plans of others
            found = plan_from_toml(text)
            named.setdefault(found.name, found)
    rounds: list[Plan] = []
    while (name := round_name(plan, len(rounds) + 1)) in named:
        rounds.append(named[name])
    return rounds


def refuse_unusable(plan: Plan, store: Store, rounds: Sequence[Plan]) -> None:
    """Raise `ValueError` for a plan that is no whole star, and for a store of something else."""
    star = _star(plan)
    for other in rounds:
        same = isinstance(other.sweep, StarSweep) and other.sweep.center == star.center
        if not same or other.sweep.recipe.id != star.recipe.id:
            raise ValueError(
                f"{store.name} holds {other.name} with another centre or recipe than {plan.name} has "
                f"now; give the plan another name, or name another --store"
            )
    if store.measured_durations():
        recipes = sorted(set(store.table()["recipe_id"].to_pylist()) - {star.recipe.id})
        if recipes:
            raise ValueError(
                f"{store.name} holds measurements of another recipe (recipe_id={recipes[0]}) than that "
                f"of {plan.name} ({star.recipe.id}); name another --store"
            )


def _star(plan: Plan, *, whole: bool = True) -> StarSweep:
    if not isinstance(plan.sweep, StarSweep):
        raise ValueError(f"{plan.name} is a {plan.kind}, and auto begins with a star")
    if whole and plan.sweep.only:
        raise ValueError(
            f"{plan.name} trains parts of a star alone ([[only]]); auto begins with a whole star"
        )
    return plan.sweep


def goal_of(
    plan: Plan,
    *,
    budget: float | None,
    compute: float | None = None,
    target: float = TARGET,
    rounds: int = ROUNDS,
    metric: str | None = None,
) -> Goal:
    """The goal of a loop over the star `plan`; compute is by default that of its dearest run.

    Raises `ValueError` as `Goal`, and where there is no budget.
    """
    if budget is None:
        raise ValueError("auto spends a budget; give the training FLOPs, such as --budget 1e15")
    if compute is None:
        compute = longest_run(_star(plan))
    return Goal(budget=budget, compute=compute, target=target, rounds=rounds, metric=metric)


def spent_flops(plans: Sequence[Plan], store: Store) -> float:
    """Training FLOPs that the store says the trials of `plans` have cost, each once."""
    ids = {trial.id for plan in plans for trial in plan.trials}
    facts = store.facts(ids)
    return math.fsum(each.spent_flops for found in facts.values() for each in found.values())


def _shape(store: Store, plan: Plan, goal: Goal) -> tuple[Answer | None, str]:
    """What `vitscale fit` and `vitscale shape` give, or why they give nothing."""
    try:
        fit, _ = fit_store(
            store.read(), metric=goal.metric, recipe=plan.sweep.recipe.id, resamples=0
        )
        found = answer(
            fit.rule(),
            goal.compute,
            fit.setting,
            measured_flops=fit.measured_flops(),
            fit=fit.fit,
        )
    except ValueError as error:
        return None, str(error)
    return found, ""

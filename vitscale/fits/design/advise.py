"""Which trials to run next: those that shrink the intervals of s, or of x*(t), most per FLOP.

Optimal design on the information of the current fit: a network is worth what it adds to the Fisher
information of eq. (2), and the durations of one network, which share its noise, are worth less than
as many networks. Getting ViT in Shape (arXiv 2305.13035) gives the law; that the centre belongs in the
fit, that wider sizes beat more durations, and that sizes must straddle x*(t) is found, not put in.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special

from vitscale.fits.arm import estimate
from vitscale.fits.columns import series, where
from vitscale.fits.design import information as info
from vitscale.fits.design.advice import Advice, AdvisedTrial, Alternative, Expectation
from vitscale.fits.design.advice_reasons import cautions_of, notes_of, reasons_of
from vitscale.fits.design.candidates import Kind, Option, Space, options_for, sizes_to_try
from vitscale.fits.design.design import Problem, choose, problem_of
from vitscale.fits.design.networks import Network, networks_of
from vitscale.fits.option_error import Keyword, OptionError
from vitscale.fits.shape_law import arm_of, fit_star
from vitscale.fits.star_fit import DimensionFit, StarFit
from vitscale.fits.uncertainty import Interval
from vitscale.scaling.names import suggest

_ALONE: dict[str, tuple[Kind, ...]] = {
    "new sizes": ("size",),
    "repeating measured sizes": ("repeat",),
    "adding durations to measured networks": ("durations",),
    "the centre": ("centre",),
}


def advise(
    table: pd.DataFrame,
    space: Space,
    budget: float,
    *,
    at_flops: float | None = None,
    dimension: str | None = None,
    kinds: Collection[Kind] | None = None,
    fit: StarFit | None = None,
    level: float = 0.95,
    laws: int = 24,
    seed: int = 0,
) -> Advice:
    """What to train next within `budget` training FLOPs, to know s = c/(a+b).

    - `table`: a canonical star table (see `vitscale.fits.tables`). `space`: what may be trained.
    - `at_flops`: to know x*(t) at this many training FLOPs instead of s.
    - `dimension`: the only one that matters; by default all do, alike.
    - `kinds`: of measurements to choose from; by default all.
    - `fit`: of this table, where it is at hand, for the intervals as they are; else it is fitted.
    - `laws`: how many plausible laws the expectation is taken over; `seed` draws them.

    Raises `ValueError` for a choice that makes no sense, and where a dimension cannot be fitted.
    """
    networks = networks_of(table)
    measured = list(dict.fromkeys(network.dimension for network in networks))
    _refuse(budget, at_flops, dimension, kinds, measured)
    t = None if at_flops is None else at_flops / _unit_of(table, at_flops)
    fit = fit or fit_star(table, resamples=0, level=level, t_ref=t)
    names = measured if dimension is None else [dimension]
    column = series(table, "dimension").astype(str)
    arms = {name: arm_of(where(table, column == name)) for name in measured}
    best = {name: estimate(arm) for name, arm in arms.items()}
    noise = info.estimate_noise(list(arms.values()), list(best.values()))
    plausible = {
        name: info.plausible_laws(arms[name], best[name], noise, laws=laws, seed=seed)
        for name in names
    }
    problem = _problem(networks, space, plausible, noise, t)
    chosen = choose(problem, budget, kinds)
    return Advice(
        at_flops=at_flops,
        level=fit.level,
        budget=budget,
        trials=_trials(problem, chosen, networks, space),
        expectations=_expectations(problem, chosen, fit, t),
        alternatives=_alternatives(problem, chosen, budget, kinds or get_args(Kind)),
        noise=noise,
        reasons=reasons_of(problem, chosen, arms, plausible, best),
        cautions=cautions_of(problem, chosen, arms, space.center),
        notes=notes_of(problem, chosen, budget, best, noise),
    )


def _refuse(
    budget: float,
    at_flops: float | None,
    dimension: str | None,
    kinds: Collection[str] | None,
    measured: Sequence[str],
) -> None:
    for name, value in (("budget", budget), ("at_flops", at_flops)):
        if value is not None and not 0 < value < 1e40:
            raise ValueError(f"{name}={value!r} is not a number of training FLOPs; use e.g. 1e18")
    if dimension is not None and dimension not in measured:
        raise ValueError(
            f"dimension={dimension!r} was not measured; {suggest(dimension, measured)}"
        )
    for kind in kinds or ():
        if kind not in get_args(Kind):
            raise ValueError(
                f"kinds: {kind!r} is no kind of measurement; {suggest(kind, get_args(Kind))}"
            )


def _unit_of(table: pd.DataFrame, flops: float) -> float:
    """Training FLOPs in one unit of the table's compute."""
    unit = table.attrs.get("flops_per_unit")
    if unit is None:
        raise OptionError(
            f"compute_unit={table.attrs.get('compute_unit')!r} is not known in FLOPs, so ",
            Keyword("at_flops", flops),
            " cannot be looked up; say what one unit is with ",
            Keyword("flops_per_unit"),
        )
    return float(unit)


def _problem(
    networks: Sequence[Network],
    space: Space,
    plausible: Mapping[str, info.Plausible],
    noise: info.Noise,
    t: float | None,
) -> Problem:
    sizes, gradient = {}, {}
    for name, laws in plausible.items():
        sizes[name] = _new_sizes(networks, space, laws, name)
        gradient[name] = _gradient(laws, t)
    options = options_for(networks, space, sizes)
    return problem_of(networks, space, options, plausible, gradient, noise)


def _gradient(laws: info.Plausible, t: float | None) -> Float[np.ndarray, "laws 7"]:
    return info.exponent_gradient(laws) if t is None else info.optimum_gradient(laws, t)


def _new_sizes(
    networks: Sequence[Network], space: Space, laws: info.Plausible, name: str
) -> tuple[int, ...]:
    own = [network for network in networks if network.dimension == name]
    computes = np.concatenate([network.t for network in own])
    least, most = (info.median_optimum(laws, float(t)) for t in (computes.min(), computes.max()))
    return sizes_to_try(
        {network.size for network in own if not network.is_center},
        multiple=space.multiples[name],
        center=None if space.center is None else space.center[name],
        optima=(least, most),
    )


def _shrinks(problem: Problem, chosen: Sequence[int]) -> list[float]:
    """By which fraction of the first criterion each chosen option, in this order, lowers it."""
    totals = [sum(problem.spreads(chosen[:count]).values()) for count in range(len(chosen) + 1)]
    return [(before - after) / totals[0] for before, after in itertools.pairwise(totals)]


def _trials(
    problem: Problem, chosen: Sequence[int], networks: Sequence[Network], space: Space
) -> tuple[AdvisedTrial, ...]:
    seeds = _Seeds(networks, space)
    found = []
    for number, shrink in zip(chosen, _shrinks(problem, chosen), strict=True):
        option = problem.options[number]
        along = option.dimension or next(iter(problem.known))
        found.append(
            AdvisedTrial(
                kind=option.kind,
                dimension=option.dimension,
                size=option.size,
                shape=None if space.shape is None else space.shape(along, option.size),
                seed=seeds.of(option),
                durations=option.durations,
                flops=option.flops,
                shrink=shrink,
            )
        )
    return tuple(found)


class _Seeds:
    """Seeds of measured networks, and the next one for a new network of some size."""

    def __init__(self, networks: Sequence[Network], space: Space) -> None:
        self._known: dict[str, int] = {}
        self._used: dict[tuple[str | None, int], set[int]] = {}
        for network in networks:
            used = self._used.setdefault(_place(network), set())
            seed = space.seeds.get(network.model, self._known.get(network.model, len(used)))
            self._known[network.model] = seed
            used.add(seed)
        self._all = sorted(set(self._known.values()))

    def of(self, option: Option) -> int:
        """The seed to train `option` with; each call takes one."""
        if option.network is not None:
            return self._known[option.network]
        place = (None, 0) if option.dimension is None else (option.dimension, option.size)
        used = self._used.setdefault(place, set())
        seed = next((s for s in self._all if s not in used), max([*self._all, *used]) + 1)
        used.add(seed)
        return seed


def _place(network: Network) -> tuple[str | None, int]:
    return (None, 0) if network.is_center else (network.dimension, network.size)


def _expectations(
    problem: Problem, chosen: Sequence[int], fit: StarFit, t: float | None
) -> tuple[Expectation, ...]:
    found = []
    for name in problem.known:
        own = fit.dimensions[name]
        dof = own.n - problem.known[name].shape[-1]
        rows = set(problem.index[name].tolist())
        added = sum(len(problem.options[i].durations) for i in chosen if i in rows)
        found.append(
            Expectation(
                dimension=name,
                quantity="s" if t is None else "x*",
                interval=own.s if t is None else _optimum(own, t, fit.level),
                ratio_now=_ratio(problem.spread([], name), dof, fit.level),
                ratio_after=_ratio(problem.spread(chosen, name), dof + added, fit.level),
            )
        )
    return tuple(found)


def _optimum(fit: DimensionFit, t: float, level: float) -> Interval:
    """x*(t) with its interval as it is; open where the fit has no optimum."""
    if fit.x_star is not None and np.isclose(fit.x_star.t, t):
        return fit.x_star.x
    return fit.x_star_at(t) or Interval(
        estimate=np.nan, low=0.0, high=np.inf, level=level, method="no optimum"
    )


def _ratio(spread: float, dof: int, level: float) -> float:
    """Upper over lower end of an interval of Student's t in the logarithm."""
    quantile = float(special.stdtrit(max(dof, 1), (1 + level) / 2))
    return float(np.exp(min(2 * quantile * spread, 300.0)))


def _alternatives(
    problem: Problem, chosen: Sequence[int], budget: float, allowed: Collection[str]
) -> tuple[Alternative, ...]:
    """What each kind of measurement alone would do; a kind that is all of the advice is left out."""
    found = []
    for what, kinds in _ALONE.items():
        if {problem.options[i].kind for i in chosen} <= set(kinds):
            continue
        if not any(option.kind in kinds and option.kind in allowed for option in problem.options):
            continue
        alone = choose(problem, budget, kinds)
        found.append(
            Alternative(
                what=what,
                networks=len(alone),
                flops=float(problem.flops[alone].sum()),
                shrink=sum(_shrinks(problem, alone)),
            )
        )
    return tuple(found)

"""Batched variable projection: the least-squares solver that all laws share.

For fixed nonlinear parameters the best non-negative linear ones are found exactly, by trying every
active set; what remains is a small problem in the logarithms of the nonlinear parameters, scanned on
a lattice and polished by Levenberg-Marquardt with Kaufman's analytic Jacobian (Golub & Pereyra 2003,
"Separable nonlinear least squares", Inverse Problems 19). Many problems (bootstrap resamples,
profiles, starts) are solved in one batch of NumPy operations, in float64.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vitscale.fits.laws import Law

_PIVOT = 1e-13  # a column whose squared distance from the others is less (scaled) is redundant
_AGREE = 1e-6  # relative difference in the objective within which starts have found the same point


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problems:
    """A batch of weighted problems, sum_i weight_i ((prediction_i - target_i) / scale_i)^2.

    - `logs`: normalised logarithms of the law's inputs, each `(problems or 1, points)`.
    - `target`, `scale`, `weight`: `(problems or 1, points)`. Relative error is scale = target.
    - `rows`: optional `(problems or 1, points, points)`, applied to the scaled residuals
      (whitening of correlated points).
    """

    logs: tuple[Float[np.ndarray, "_ points"], ...]
    target: Float[np.ndarray, "_ points"]
    scale: Float[np.ndarray, "_ points"]
    weight: Float[np.ndarray, "_ points"]
    rows: Float[np.ndarray, "_ points points"] | None = None

    @property
    def size(self) -> int:
        """Number of problems in the batch."""
        arrays = (*self.logs, self.target, self.scale, self.weight)
        return max(len(a) for a in (*arrays, *(() if self.rows is None else (self.rows,))))

    def take(self, index: Int[np.ndarray, " chosen"]) -> "Problems":
        """The problems at `index`; what all problems share stays shared."""

        def pick(array):
            return array if len(array) == 1 else array[index]

        return Problems(
            logs=tuple(pick(log) for log in self.logs),
            target=pick(self.target),
            scale=pick(self.scale),
            weight=pick(self.weight),
            rows=None if self.rows is None else pick(self.rows),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """The best point found for each problem.

    `converged`: the best start met the tolerance. `agreed`: how many of `starts` ended within 1e-6
    (relative) of the best objective.
    """

    nonlinear: Float[np.ndarray, "problems parameters"]
    linear: Float[np.ndarray, "problems terms"]
    sse: Float[np.ndarray, " problems"]
    converged: Bool[np.ndarray, " problems"]
    agreed: Int[np.ndarray, " problems"]
    starts: int


def problems(
    logs: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    scale: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> Problems:
    """Problems from arrays of shape `(points,)` or `(problems, points)`; relative error by default."""
    target = np.atleast_2d(np.asarray(target, float))
    return Problems(
        logs=tuple(np.atleast_2d(np.asarray(log, float)) for log in logs),
        target=target,
        scale=target if scale is None else np.atleast_2d(np.asarray(scale, float)),
        weight=np.ones((1, target.shape[-1])) if weight is None else np.atleast_2d(weight),
        rows=None if rows is None else rows.reshape(-1, *rows.shape[-2:]),
    )


def normalise(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Logarithms of `values` over their geometric mean, and that mean."""
    logs = np.log(np.asarray(values, float))
    centre = float(logs.mean())
    return logs - centre, float(np.exp(centre))


def lattice_of(law: Law) -> Float[np.ndarray, "cells parameters"]:
    """All combinations of the lattice values of the law's nonlinear parameters."""
    return np.array(list(itertools.product(*(p.lattice for p in law.nonlinear))))


def fit(
    law: Law,
    batch: Problems,
    *,
    starts: Float[np.ndarray, "problems starts parameters"] | None = None,
    lattice: Float[np.ndarray, "cells parameters"] | None = None,
    keep: int = 12,
    max_steps: int = 200,
    tolerance: float = 1e-12,
) -> Solution:
    """Fit `law` to every problem of `batch`, from given `starts` and the `keep` best lattice cells.

    Without `starts`, the law's own lattice is scanned. With `starts` (`(problems or 1, starts,
    parameters)`), the lattice is scanned only if one is given. `max_steps`, `tolerance`: of `polish`;
    where only the objective matters, as in a profile, a rough tolerance is enough.
    """
    size = batch.size
    candidates = []
    if starts is not None:
        candidates.append(np.broadcast_to(starts, (size, *starts.shape[1:])))
    if starts is None or lattice is not None:
        cells = lattice_of(law) if lattice is None else lattice
        _, best = scan(law, batch, cells, keep=keep)
        candidates.append(cells[best])
    begin = np.concatenate(candidates, axis=1)
    tries = begin.shape[1]
    owner = np.repeat(np.arange(size), tries)
    p, linear, sse, done = polish(
        law,
        batch.take(owner),
        begin.reshape(-1, begin.shape[-1]),
        max_steps=max_steps,
        tolerance=tolerance,
    )
    sse = sse.reshape(size, tries)
    best = sse.argmin(axis=1)
    chosen = np.arange(size) * tries + best
    least = sse[np.arange(size), best]
    return Solution(
        nonlinear=p[chosen],
        linear=linear[chosen],
        sse=least,
        converged=done[chosen],
        agreed=(sse <= least[:, None] * (1 + _AGREE) + 1e-28).sum(axis=1),
        starts=tries,
    )


def scan(
    law: Law, batch: Problems, cells: Float[np.ndarray, "cells parameters"], *, keep: int = 1
) -> tuple[Float[np.ndarray, "problems keep"], Int[np.ndarray, "problems keep"]]:
    """Objective and index of the `keep` best lattice cells of each problem, best first.

    Problems that share their inputs are scanned by matrix products over all cells at once.
    """
    if batch.rows is not None:
        raise ValueError("a lattice scan takes no `rows`; give `starts` instead")
    keep = min(keep, len(cells))
    shared = all(len(log) == 1 for log in batch.logs)
    groups = [np.arange(batch.size)] if shared else list(np.arange(batch.size)[:, None])
    values = np.empty((batch.size, keep))
    index = np.empty((batch.size, keep), int)
    for group in groups:
        sse = _scan_shared(law, batch.take(group), cells, len(group))
        order = np.argsort(sse, axis=0, kind="stable")[:keep]
        values[group] = np.take_along_axis(sse, order, axis=0).T
        index[group] = order.T
    return values, index


def _scan_shared(law, batch, cells, size) -> Float[np.ndarray, "cells problems"]:
    basis = law.basis(cells, *batch.logs)
    terms = basis.shape[-1]
    weight = batch.weight / batch.scale**2
    square = np.broadcast_to(weight, (size, weight.shape[1])).T
    cross = np.broadcast_to(weight * batch.target, (size, weight.shape[1])).T
    gram = [
        [(basis[..., i] * basis[..., j]) @ square if i <= j else None for j in range(terms)]
        for i in range(terms)
    ]
    moment = [basis[..., i] @ cross for i in range(terms)]
    _, gain = nonnegative(gram, moment)
    total = (weight * batch.target**2).sum(axis=1)
    return total - gain


def nonnegative(gram, moment) -> tuple[Float[np.ndarray, "... terms"], Float[np.ndarray, "..."]]:
    """Exact non-negative least squares from normal equations, for many problems at once.

    - `gram[i][j]` for i <= j, `moment[i]`: arrays of one shape, one entry for each problem.

    Every active set is solved by Cholesky; the feasible one that explains most is the optimum.
    Returns the coefficients (last axis) and how much of the sum of squares they explain.
    """
    terms = len(moment)
    size = [np.sqrt(np.where(gram[i][i] > 0, gram[i][i], 1)) for i in range(terms)]
    scaled = {
        (i, j): gram[i][j] / (size[i] * size[j]) for i in range(terms) for j in range(i, terms)
    }
    target = [moment[i] / size[i] for i in range(terms)]
    best = np.zeros_like(target[0])
    coefficients = np.zeros((terms, *best.shape))
    for count in range(1, terms + 1):
        for active in itertools.combinations(range(terms), count):
            values, valid = _solve_active(scaled, target, active)
            gain = sum(target[i] * v for i, v in zip(active, values, strict=True))
            better = valid & (gain > best)
            if not better.any():
                continue
            best = np.where(better, gain, best)
            coefficients[:, better] = 0
            for i, v in zip(active, values, strict=True):
                coefficients[i][better] = v[better]
    return np.moveaxis(coefficients / np.stack(size), 0, -1), best


def _solve_active(gram, moment, active):
    """Cholesky solution on the columns `active`, and where it is well posed and non-negative."""
    count = len(active)
    lower: list[list[np.ndarray]] = []
    forward: list[np.ndarray] = []
    valid = np.ones(moment[0].shape, bool)
    for i in range(count):
        row = []
        for j in range(i):
            dot = sum((row[k] * lower[j][k] for k in range(j)), 0.0)
            row.append((gram[active[j], active[i]] - dot) / lower[j][j])
        pivot = gram[active[i], active[i]] - sum((v * v for v in row), 0.0)
        valid &= pivot > _PIVOT
        row.append(np.sqrt(np.where(valid, pivot, 1)))
        lower.append(row)
        dot = sum((row[k] * forward[k] for k in range(i)), 0.0)
        forward.append((moment[active[i]] - dot) / row[i])
    values: list[np.ndarray] = [np.empty(0)] * count
    for i in reversed(range(count)):
        dot = sum((lower[k][i] * values[k] for k in range(i + 1, count)), 0.0)
        values[i] = (forward[i] - dot) / lower[i][i]
        valid &= values[i] >= 0
    return values, valid


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Point:
    """The projected problem at one set of nonlinear parameters, for every problem of a batch."""

    design: np.ndarray  # (problems, points, terms), scaled
    basis: np.ndarray  # the same, unscaled
    linear: np.ndarray  # (problems, terms)
    residual: np.ndarray  # (problems, points)
    sse: np.ndarray  # (problems,)


def _factor(batch: Problems) -> np.ndarray:
    return np.sqrt(batch.weight) / batch.scale


def _project(law: Law, batch: Problems, p: np.ndarray) -> _Point:
    basis = law.basis(p, *batch.logs)
    factor = _factor(batch)
    design = basis * factor[..., None]
    target = np.broadcast_to(factor * batch.target, design.shape[:2])
    if batch.rows is not None:
        design = batch.rows @ design
        target = (batch.rows @ target[..., None])[..., 0]
    product = np.ascontiguousarray(np.moveaxis(np.swapaxes(design, 1, 2) @ design, 0, -1))
    moment = np.ascontiguousarray((target[:, None, :] @ design)[:, 0].T)
    linear, _ = nonnegative(product, moment)
    residual = (design @ linear[..., None])[..., 0] - target
    return _Point(
        design=design,
        basis=basis,
        linear=linear,
        residual=residual,
        sse=np.einsum("bn,bn->b", residual, residual),
    )


def _jacobian(law: Law, batch: Problems, p: np.ndarray, point: _Point) -> np.ndarray:
    """Kaufman's Jacobian of the residual in log p: slopes projected off the active columns."""
    slopes = law.slopes(p, point.basis * point.linear[:, None, :], *batch.logs)
    slopes = slopes * _factor(batch)[..., None]
    if batch.rows is not None:
        slopes = batch.rows @ slopes
    active = point.design * (point.linear > 0)[:, None, :]
    norm = np.sqrt(np.einsum("bnm,bnm->bm", active, active))
    active = active / np.where(norm > 0, norm, 1)[:, None, :]
    terms = active.shape[-1]
    product = np.swapaxes(active, 1, 2) @ active + np.eye(terms) * _PIVOT
    product[:, range(terms), range(terms)] += norm == 0
    along = np.linalg.solve(product, np.swapaxes(active, 1, 2) @ slopes)
    return slopes - active @ along


def polish(
    law: Law,
    batch: Problems,
    start: Float[np.ndarray, "problems parameters"],
    *,
    max_steps: int = 200,
    tolerance: float = 1e-12,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Levenberg-Marquardt on log p within the law's bounds, each problem from its own start.

    Stops a problem where the predicted fall of the objective is below `tolerance` (relative).
    Returns nonlinear and linear parameters, objective, and whether each problem converged.
    """
    low = np.log([p.low for p in law.nonlinear])
    high = np.log([p.high for p in law.nonlinear])
    u = np.clip(np.log(start), low, high)
    point = _project(law, batch, np.exp(u))
    linear, sse = point.linear.copy(), point.sse.copy()
    done = np.zeros(len(u), bool)
    live = np.arange(len(u))
    damping = np.full(len(u), 1e-2)
    jacobian = _jacobian(law, batch, np.exp(u), point)
    residual = point.residual
    for _ in range(max_steps):
        step, fall = _damped_step(u[live], jacobian, residual, damping[live], (low, high))
        # A step cut short by the bounds may promise a rise; more damping turns it downhill.
        finished = (abs(fall) <= tolerance * sse[live] + 1e-30) | (damping[live] > 1e12)
        done[live[finished]] = True
        if finished.any():
            rest = ~finished
            live, step, fall = live[rest], step[rest], fall[rest]
            jacobian, residual = jacobian[rest], residual[rest]
        if not len(live):
            break
        trial = np.clip(u[live] + step, low, high)
        part = batch.take(live)
        point = _project(law, part, np.exp(trial))
        better = point.sse < sse[live]
        ratio = (sse[live] - point.sse) / np.where(fall > 0, fall, np.inf)
        damping[live] *= np.where(better, np.where(ratio > 0.5, 0.2, 1.0), 5.0)
        moved = live[better]
        u[moved], linear[moved], sse[moved] = trial[better], point.linear[better], point.sse[better]
        fresh = _jacobian(law, part, np.exp(trial), point)
        jacobian = np.where(better[:, None, None], fresh, jacobian)
        residual = np.where(better[:, None], point.residual, residual)
    return np.exp(u), linear, sse, done


def _damped_step(u, jacobian, residual, damping, bounds):
    """Marquardt's step with parameters held that would leave their bounds, and its predicted fall."""
    low, high = bounds
    gradient = np.einsum("bnk,bn->bk", jacobian, residual)
    hessian = np.swapaxes(jacobian, 1, 2) @ jacobian
    diagonal = np.einsum("bkk->bk", hessian).copy()
    held = ((u <= low) & (gradient > 0)) | ((u >= high) & (gradient < 0))
    free = ~held
    damped = hessian * free[:, :, None] * free[:, None, :]
    parameters = range(u.shape[1])
    damped[:, parameters, parameters] += damping[:, None] * diagonal + 1e-12 + held
    step = -np.linalg.solve(damped, (gradient * free)[..., None])[..., 0]
    step = np.clip(np.clip(step, -2, 2) + u, low, high) - u
    change = (jacobian @ step[..., None])[..., 0]
    fall = -(2 * np.einsum("bk,bk->b", gradient, step) + np.einsum("bn,bn->b", change, change))
    return step, fall

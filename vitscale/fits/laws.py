"""Scaling laws: their equations, how they are declared to the solver, and nothing else.

A `Law` says which parameters enter nonlinearly (with bounds and a lattice to start from) and which
enter linearly (and must not be negative); `vitscale.fits.varpro` fits any of them. The solver works
on normalised inputs, so `restore` takes parameters back to the user's units.

The tables at the end hold the constants of the papers, each with its source.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nonlinear:
    """One nonlinear parameter: positive, searched on a logarithmic scale within `[low, high]`."""

    name: str
    low: float
    high: float
    lattice: tuple[float, ...]
    """Values from which the search starts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law `prediction = sum_j linear_j * basis_j(nonlinear, inputs)`.

    - `inputs`: names of the inputs, all positive; the solver passes their normalised logarithms.
    - `nonlinear`: the nonlinear parameters, in the order of the columns of `p`.
    - `linear`: names of the linear parameters, all zero or more.
    - `basis(p, *logs)`: `p` of shape `(problems, parameters)` and log inputs of shape
      `(problems or 1, points)` to the basis `(problems, points, terms)`.
    - `slopes(p, terms, *logs)`: with `terms` the basis times the linear parameters, derivatives of
      the prediction with respect to log p, shape `(problems, points, parameters)`.
    - `restore(params, scales)`: parameters for inputs divided by `scales` to those for raw inputs.
    """

    name: str
    equation: str
    source: str
    inputs: tuple[str, ...]
    nonlinear: tuple[Nonlinear, ...]
    linear: tuple[str, ...]
    basis: Callable[..., np.ndarray]
    slopes: Callable[..., np.ndarray]
    restore: Callable[[Mapping[str, float], Sequence[float]], dict[str, float]]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters, nonlinear first."""
        return (*(p.name for p in self.nonlinear), *self.linear)


# --- SoViT: the error along one shape dimension ---------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeLaw:
    """Eq. (2) of Getting ViT in Shape (arXiv 2305.13035) along one shape dimension,

        f(x, t) = alpha x^-a + (beta x^b + xi) t^-c + eps,

    with `x` the size and `t` the compute, in whatever unit the parameters were fitted in.
    """

    alpha: float
    a: float
    beta: float
    b: float
    xi: float
    c: float
    eps: float

    @property
    def s(self) -> float:
        """Exponent of the optimal size: x*(t) grows as t^s, s = c/(a+b) (eq. 4)."""
        return self.c / (self.a + self.b)

    def error(self, x, t) -> np.ndarray:
        """f(x, t) of eq. (2)."""
        x, t = np.asarray(x, float), np.asarray(t, float)
        return self.alpha * x**-self.a + (self.beta * x**self.b + self.xi) * t**-self.c + self.eps

    def optimal_x(self, t) -> np.ndarray:
        """x*(t) of eq. (4), where f(., t) is least; 0 or infinite where the law lacks its falling or
        rising term, NaN where it lacks both."""
        t = np.asarray(t, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(self.alpha * self.a, self.beta * self.b) * t**self.c
        return ratio ** (1 / (self.a + self.b))

    def frontier_error(self, x, t) -> np.ndarray:
        """Eq. (5), f on the frontier x = x*(t): alpha (1 + a/b) x^-a + xi t^-c + eps."""
        x, t = np.asarray(x, float), np.asarray(t, float)
        scale = self.alpha * (1 + self.a / self.b)
        return scale * x**-self.a + self.xi * t**-self.c + self.eps


def _columns(p: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(p[..., k, None] for k in range(p.shape[-1]))


def bounded_exp(exponent: np.ndarray) -> np.ndarray:
    """exp, held where its square would overflow: sizes 30 orders of magnitude apart are refused by
    no rule, and must give a bad fit rather than none."""
    return np.exp(np.clip(exponent, -150, 150))


def _shape_basis(p, log_x, log_t):
    a, b, c = _columns(p)
    decay = bounded_exp(-c * log_t)
    grow = bounded_exp(b * log_x - c * log_t)
    return np.stack([bounded_exp(-a * log_x) + 0 * decay, grow, decay + 0 * grow, 0 * grow + 1], -1)


def _shape_slopes(p, terms, log_x, log_t):
    a, b, c = _columns(p)
    shrink, grow, decay = terms[..., 0], terms[..., 1], terms[..., 2]
    return np.stack([-a * log_x * shrink, b * log_x * grow, -c * log_t * (grow + decay)], -1)


def _shape_restore(params, scales):
    x0, t0 = scales
    a, b, c = params["a"], params["b"], params["c"]
    return {
        "alpha": params["alpha"] * x0**a,
        "a": a,
        "beta": params["beta"] * x0**-b * t0**c,
        "b": b,
        "xi": params["xi"] * t0**c,
        "c": c,
        "eps": params["eps"],
    }


A_RANGE = B_RANGE = (0.05, 5.0)
"""Bounds of a and b in eq. (2). Below 0.05, alpha x^-a + eps is alpha (1 - a log x) + eps: a line in
log x that leaves alpha, a and eps undecided."""

C_RANGE = (0.05, 3.0)

SHAPE_LAW = Law(
    name="shape",
    equation="f(x, t) = alpha x^-a + (beta x^b + xi) t^-c + eps",
    source="Getting ViT in Shape (arXiv 2305.13035), eq. (2)",
    inputs=("x", "t"),
    nonlinear=(
        Nonlinear(name="a", low=A_RANGE[0], high=A_RANGE[1], lattice=(0.07, 0.2, 0.5, 0.9, 1.4, 2)),
        Nonlinear(
            name="b", low=B_RANGE[0], high=B_RANGE[1], lattice=(0.1, 0.3, 0.7, 1.2, 1.8, 2.6)
        ),
        Nonlinear(
            name="c", low=C_RANGE[0], high=C_RANGE[1], lattice=(0.2, 0.4, 0.6, 0.8, 1.1, 1.5)
        ),
    ),
    linear=("alpha", "beta", "xi", "eps"),
    basis=_shape_basis,
    slopes=_shape_slopes,
    restore=_shape_restore,
)


# --- Scaling Vision Transformers: the compute frontier --------------------------------------------


def saturating(compute, *, a: float, b: float, c: float) -> np.ndarray:
    """a C^-b + c: a power law with a floor."""
    return a * np.asarray(compute, float) ** -b + c


def double_saturating(compute, *, a: float, d: float, b: float, c: float) -> np.ndarray:
    """a (C + d)^-b + c: also finite at zero compute. Scaling Vision Transformers (arXiv 2106.04560),
    Section 2.2; C in TPUv3 core-days there."""
    return a * (np.asarray(compute, float) + d) ** -b + c


def _saturating_basis(p, log_c):
    (b,) = _columns(p)
    power = np.exp(-b * log_c)
    return np.stack([power, 0 * power + 1], -1)


def _saturating_slopes(p, terms, log_c):
    (b,) = _columns(p)
    return np.stack([-b * log_c * terms[..., 0]], -1)


def _saturating_restore(params, scales):
    return {"a": params["a"] * scales[0] ** params["b"], "b": params["b"], "c": params["c"]}


def _double_basis(p, log_c):
    b, d = _columns(p)
    power = (np.exp(log_c) + d) ** -b
    return np.stack([power, 0 * power + 1], -1)


def _double_slopes(p, terms, log_c):
    b, d = _columns(p)
    shifted = np.exp(log_c) + d
    power = terms[..., 0]
    return np.stack([-b * np.log(shifted) * power, -b * d / shifted * power], -1)


def _double_restore(params, scales):
    (scale,) = scales
    restored = _saturating_restore(params, scales)
    return {"a": restored["a"], "d": params["d"] * scale, "b": params["b"], "c": params["c"]}


_POWERS = (0.08, 0.15, 0.25, 0.35, 0.5, 0.75, 1.1, 1.6)

SATURATING = Law(
    name="saturating",
    equation="f(C) = a C^-b + c",
    source="a power law with a floor, as in Hestness et al. 2017 (arXiv 1712.00409)",
    inputs=("C",),
    nonlinear=(Nonlinear(name="b", low=0.01, high=10, lattice=_POWERS),),
    linear=("a", "c"),
    basis=_saturating_basis,
    slopes=_saturating_slopes,
    restore=_saturating_restore,
)

DOUBLE_SATURATING = Law(
    name="double-saturating",
    equation="f(C) = a (C + d)^-b + c",
    source="Scaling Vision Transformers (arXiv 2106.04560), Section 2.2",
    inputs=("C",),
    nonlinear=(
        Nonlinear(name="b", low=0.01, high=10, lattice=_POWERS),
        Nonlinear(name="d", low=1e-8, high=1e4, lattice=(1e-4, 1e-3, 0.01, 0.05, 0.2, 1, 5)),
    ),
    linear=("a", "c"),
    basis=_double_basis,
    slopes=_double_slopes,
    restore=_double_restore,
)

LAWS: dict[str, Law] = {law.name: law for law in (SHAPE_LAW, SATURATING, DOUBLE_SATURATING)}
"""Every law that the solver is offered, by name."""


# --- Published constants --------------------------------------------------------------------------

SOVIT_EXPONENTS: dict[str, dict[str, float]] = {
    # Section 4, "0.22, 0.45 and 0.6".
    "sovit-text": {"width": 0.22, "depth": 0.45, "mlp_dim": 0.6},
    # Slopes of the lines of Figure 1 (0.08335, 0.14997, 0.20839) times three dimensions.
    "sovit-figure1": {"width": 0.25, "depth": 0.45, "mlp_dim": 0.625},
    # Figure 5, 10-shot: 9/40, 9/21, 11/19 on the paper's own lattice of multiples of 2/29.
    "sovit-figure5": {"width": 9 / 40, "depth": 9 / 21, "mlp_dim": 11 / 19},
    # Section 4, image-to-text multitask decoding.
    "sovit-multitask": {"width": 0.25, "depth": 0.49, "mlp_dim": 0.62},
}
"""Exponents s_k of Getting ViT in Shape, by where the paper states them."""

SOVIT_FITS_10SHOT: dict[str, ShapeLaw] = {
    "width": ShapeLaw(
        alpha=100.606561,
        a=30 / 29,
        beta=2.42272307,
        b=50 / 29,
        xi=473294.713,
        c=18 / 29,
        eps=12 / 70,
    ),
    "depth": ShapeLaw(
        alpha=0.616318536, a=20 / 29, beta=102965.505, b=22 / 29, xi=0, c=18 / 29, eps=11 / 70
    ),
    "mlp_dim": ShapeLaw(
        alpha=0.363526512,
        a=2 / 29,
        beta=419.027002,
        b=36 / 29,
        xi=23785437.1,
        c=22 / 29,
        eps=3 / 70,
    ),
}
"""The fits of Getting ViT in Shape to ImageNet 10-shot error, t in forward GFLOPs x images: decoded
from the coordinates of Figures 4 and 5, reproducing the 54 plotted predictions to 2e-7."""

SCALING_VIT_FRONTIERS: dict[str, dict[str, float]] = {
    "imagenet-finetune": {"a": 0.26, "d": 0.01, "b": 0.35, "c": 0.09},
    "imagenet-10shot": {"a": 0.63, "d": 0.52, "b": 0.32, "c": 0.12},
    "imagenet-5shot": {"a": 0.68, "d": 0.67, "b": 0.32, "c": 0.14},
    "cifar100-10shot": {"a": 0.48, "d": 0.03, "b": 0.21, "c": 0.06},
    "cifar100-5shot": {"a": 0.53, "d": 0.07, "b": 0.20, "c": 0.08},
    "pets-10shot": {"a": 0.60, "d": 0.75, "b": 0.77, "c": 0.03},
    "pets-5shot": {"a": 0.72, "d": 0.97, "b": 0.72, "c": 0.04},
    "birds-10shot": {"a": 0.62, "d": 0.55, "b": 0.43, "c": 0.10},
    "birds-5shot": {"a": 0.68, "d": 0.65, "b": 0.37, "c": 0.08},
    "imagenet21k-10shot": {"a": 0.96, "d": 1.57, "b": 0.61, "c": 0.24},
}
"""Double-saturating laws of Scaling Vision Transformers: legends of its figures; C in TPUv3 core-days,
error in [0, 1]. "imagenet21k-10shot" was pre-trained on ImageNet-21k (Figure 4)."""

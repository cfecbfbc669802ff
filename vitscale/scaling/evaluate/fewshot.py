"""Few-shot error of frozen features: a ridge regression to +-1 class targets, in closed form.

The probe of Scaling Vision Transformers (arXiv 2106.04560, Section 2.2) and its public form,
big_vision `evaluators/fewshot_lsr.py`, with the arithmetic mended. That code appends a constant feature
of 100 in float32, so that the top eigenvalue of the Gram matrix is near 1e8 and the weights carry 1-10 %
error; here features are centred instead, which makes the unpenalised intercept the mean of the targets
exactly, and the one factorisation that serves every l2 is in float64. `constant_feature=100` brings the
papers' form back, in float64, for comparison with published numbers.

Probes run in NumPy and SciPy: JAX has float64 only by a global switch.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

PAPER_L2 = 2.0**10
"""The l2 penalty of Scaling Vision Transformers and big_vision."""

L2_GRID = tuple(2.0**k for k in range(-6, 11))
SHOTS = (1, 5, 10, 25)
DRAWS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewshotTask:
    """Labelled images to draw few-shot training sets from, and the images to test on."""

    pool_images: Float[np.ndarray, "pool height width channels"]
    pool_labels: Int[np.ndarray, " pool"]
    test_images: Float[np.ndarray, "test height width channels"]
    test_labels: Int[np.ndarray, " test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewshotError:
    """Test error at one number of shots: mean and standard deviation over draws of the shots."""

    shots: int
    error: float
    sd: float
    draws: int


class RidgeProbe:
    """Ridge regression of +-1 class targets on standardised features, for any number of l2 values.

    - `features`: one row an example. `labels`: classes from 0 to `classes` - 1.
    - `constant_feature`: None centres the features, so that the intercept is not penalised; a number
      appends it as one more (penalised) feature, as the papers do with 100.

    One eigendecomposition, of the Gram matrix of features or of examples, whichever is smaller,
    serves every l2.
    """

    def __init__(
        self,
        features: Float[np.ndarray, "n d"],
        labels: Int[np.ndarray, " n"],
        *,
        classes: int,
        constant_feature: float | None = None,
    ):
        x = np.asarray(features, np.float64)
        if not np.isfinite(x).all():
            raise ValueError("features hold NaN or infinity; the model that made them diverged")
        self._mean = x.mean(0)
        self._scale = x.std(0) + 1e-5
        self._constant = constant_feature
        self._x = self._standardise(x)
        targets = np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)
        self._offset = np.zeros(classes) if constant_feature is not None else targets.mean(0)
        self._y = targets - self._offset
        n, d = self._x.shape
        self._dual = n < d
        gram = self._x @ self._x.T if self._dual else self._x.T @ self._x
        eigenvalues, self._vectors = linalg.eigh(gram)
        # The centred Gram matrix of examples is singular: what is negative is rounding.
        self._eigenvalues = np.maximum(eigenvalues, 0.0)
        rhs = self._y if self._dual else self._x.T @ self._y
        self._rotated = self._vectors.T @ rhs

    def weights(self, l2: float) -> Float[np.ndarray, "d classes"]:
        """(X'X + l2 I)^-1 X'Y on standardised features."""
        solution = self._vectors @ (self._rotated / (self._eigenvalues + l2)[:, None])
        return self._x.T @ solution if self._dual else solution

    def scores(
        self, features: Float[np.ndarray, "m d"], l2: float
    ) -> Float[np.ndarray, "m classes"]:
        """Predicted targets of other examples; the largest names the class."""
        x = self._standardise(np.asarray(features, np.float64))
        return x @ self.weights(l2) + self._offset

    def leave_one_out_loss(self, l2: float) -> float:
        """Mean squared error of each training example when predicted from all others.

        Exact by the closed form residual / (1 - H_ii); the centring counts as one fitted parameter.
        """
        basis = self._vectors if self._dual else self._x @ self._vectors
        filtered = self._eigenvalues if self._dual else 1.0
        shrink = filtered / (self._eigenvalues + l2)
        leverage = (basis**2 * shrink).sum(1)
        if self._constant is None:
            leverage = leverage + 1 / len(self._x)
        residual = self._y - self._x @ self.weights(l2)
        return float(np.mean((residual / np.maximum(1 - leverage, 1e-9)[:, None]) ** 2))

    def best_l2(self, l2_grid: Sequence[float] = L2_GRID) -> float:
        """The l2 of the grid with the least leave-one-out loss; no test label is seen."""
        return min(l2_grid, key=self.leave_one_out_loss)

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        x = (x - self._mean) / self._scale
        if self._constant is not None:
            x = np.hstack([x, np.full((len(x), 1), self._constant)])
        return x


def draw_shots(
    labels: Int[np.ndarray, " pool"], shots: int, seed: int
) -> Int[np.ndarray, " chosen"]:
    """Positions of `shots` random examples of each class; nested: fewer shots are a subset of more.

    Raises `ValueError` where a class has fewer examples, which would silently change the task.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        if len(positions) < shots:
            raise ValueError(
                f"class {label} has {len(positions)} examples, fewer than shots={shots}; "
                f"use fewer shots or a larger pool"
            )
        chosen.append(positions[:shots])
    return np.concatenate(chosen)


def fewshot_errors(
    pool: Float[np.ndarray, "pool d"],
    pool_labels: Int[np.ndarray, " pool"],
    test: Float[np.ndarray, "test d"],
    test_labels: Int[np.ndarray, " test"],
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
    l2: float | None = None,
    constant_feature: float | None = None,
) -> Iterator[FewshotError]:
    """Test error of ridge probes on frozen features, for each number of `shots`.

    `l2=None` chooses it for each draw by leave-one-out on the shots themselves; the papers fix 2^10.
    """
    classes = int(max(pool_labels.max(), test_labels.max())) + 1
    for count in shots:
        errors = []
        for seed in range(draws):
            chosen = draw_shots(pool_labels, count, seed)
            probe = RidgeProbe(
                pool[chosen],
                pool_labels[chosen],
                classes=classes,
                constant_feature=constant_feature,
            )
            penalty = probe.best_l2() if l2 is None else l2
            errors.append(np.mean(probe.scores(test, penalty).argmax(1) != test_labels))
        yield FewshotError(
            shots=count, error=float(np.mean(errors)), sd=float(np.std(errors)), draws=draws
        )

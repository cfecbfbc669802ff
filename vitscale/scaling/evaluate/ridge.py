"""Ridge regression of +-1 class targets on standardised features, in closed form."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg

from vitscale.scaling.evaluate.finite import check_finite

PAPER_L2 = 2.0**10
"""The l2 penalty of Scaling Vision Transformers and big_vision."""

L2_GRID = tuple(2.0**k for k in range(-6, 11))


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
        check_finite(x, "features")
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

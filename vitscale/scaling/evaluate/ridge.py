"""Ridge regression of +-1 class targets on standardised features, in closed form, fast and right.

Public code (big_vision `evaluators/fewshot_lsr.py`) appends a constant feature of 100 in float32, so
that the top eigenvalue of the Gram matrix is near 1e8 and the weights carry 1-10 % error. Here
features are centred instead, which makes the unpenalised intercept the mean of the targets exactly.
The constant feature is orthogonal to centred ones, so its exact effect is a factor on that intercept.

Large problems are in float32 with eigenvalues in float64, small ones in float64 throughout: their
predictions agree (`benchmarks/fewshot.py`). NumPy and SciPy: JAX has float64 only by a global switch.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, sparse

from vitscale.scaling.evaluate.finite import check_finite
from vitscale.scaling.evaluate.ridge_path import RidgePath

PAPER_L2 = 2.0**10
"""The l2 penalty of Scaling Vision Transformers and big_vision."""

L2_GRID = tuple(2.0**k for k in range(-6, 11))

LEAVE_ONE_OUT_EXAMPLES = 2048
"""Training examples, spread evenly, on which an l2 is judged: residuals of all would take as long as
predicting all, for each l2."""

# Features (numbers, not columns) up to which float64 costs milliseconds, to solve and to score. At 1 shot
# of 1,000 classes, a float32 Gram matrix would flip one or two of 10,000 predictions.
_FLOAT64_SOLVE = 2**22
_FLOAT64_SCORES = 2**20
_FEW = 4  # l2 values up to which a Cholesky factor each is cheaper than all eigenvectors
_BLOCK = 4096  # test examples whose scores are held at once


class Spectrum(NamedTuple):
    """The Gram matrix in its eigenvectors, which serve every l2.

    Scores of standardised features x are x @ directions @ (targets / (eigenvalues + l2)).
    """

    eigenvalues: Float[np.ndarray, " r"]
    vectors: Float[np.ndarray, "r r"]
    directions: Float[np.ndarray, "d r"]
    targets: Float[np.ndarray, "r classes"]

    def weights(self, l2: float) -> Float[np.ndarray, "r classes"]:
        """What directions are multiplied by."""
        return self.targets / (self.eigenvalues + l2).astype(self.targets.dtype)[:, None]


class RidgeProbe:
    """Ridge regression of +-1 class targets on standardised features, for any number of l2 values.

    - `features`: one row an example. `labels`: classes from 0 to `classes` - 1.
    - `constant_feature`: None leaves the intercept unpenalised; a number is appended as one more
      (penalised) feature, as the papers do with 100.

    The Gram matrix is that of features or of examples, whichever is smaller.

    Raises `NotFiniteError` where features are not finite.
    """

    def __init__(
        self,
        features: Float[np.ndarray, "n d"],
        labels: Int[np.ndarray, " n"],
        *,
        classes: int,
        constant_feature: float | None = None,
    ):
        check_finite(features, "features")
        self._n, d = features.shape
        self._dtype = np.float64 if features.size <= _FLOAT64_SOLVE else np.float32
        self._score_dtype = np.float64 if features.size <= _FLOAT64_SCORES else np.float32
        self._mean = features.mean(0, dtype=np.float64).astype(self._dtype)
        self._scale = np.ones_like(self._mean)
        x = self._standardise(features, self._dtype)
        self._scale = np.sqrt(np.einsum("nd,nd->d", x, x) / self._n) + self._dtype(1e-5)
        x /= self._scale
        self._x, self._labels, self._classes = x, labels, classes
        counts = np.bincount(labels, minlength=classes)
        self._target_mean = 2 * counts / self._n - 1
        self._constant = constant_feature
        self._dual = self._n < d
        self._gram = x @ x.T if self._dual else x.T @ x
        if self._dual:
            # Centring leaves one eigenvalue at 0. No prediction lies along its eigenvector, of ones,
            # so it may be moved to where it harms no factorisation.
            self._shift = float(np.trace(self._gram)) / self._n
            self._gram += self._dtype(self._shift / self._n)
            self._rhs = self._targets(slice(None))
        else:
            member = sparse.csr_array(
                (np.ones(self._n, self._dtype), (labels, np.arange(self._n))), (classes, self._n)
            )
            sums = member @ x
            # The mean is rounded, so the sums do not add up to 0 by themselves.
            self._rhs = 2 * (sums - np.outer(counts / self._n, sums.sum(0))).T.astype(self._dtype)

    @functools.cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues and -vectors of the Gram matrix, found in float64."""
        eigenvalues, vectors = linalg.eigh(
            self._gram.astype(np.float64), driver="evd", check_finite=False, overwrite_a=True
        )
        vectors = vectors.astype(self._dtype)
        return Spectrum(
            eigenvalues=np.maximum(eigenvalues, 0.0),  # what is negative is rounding
            vectors=vectors,
            directions=self._x.T @ vectors if self._dual else vectors,
            targets=vectors.T @ self._rhs,
        )

    def weights(self, l2: float) -> Float[np.ndarray, "d classes"]:
        """(X'X + l2 I)^-1 X'Y on standardised features, by one Cholesky factorisation."""
        shifted = self._gram.copy()
        shifted.flat[:: len(shifted) + 1] += self._dtype(l2)
        try:
            factor = linalg.cho_factor(shifted, check_finite=False, overwrite_a=True)
        except linalg.LinAlgError:
            # An l2 below the rounding of a singular matrix; the spectrum is clipped at 0.
            return self.spectrum.directions @ self.spectrum.weights(l2)
        solution = linalg.cho_solve(factor, self._rhs, check_finite=False)
        return self._x.T @ solution if self._dual else solution

    def scores(
        self, features: Float[np.ndarray, "m d"], l2: float
    ) -> Float[np.ndarray, "m classes"]:
        """Predicted targets of other examples; the largest names the class."""
        return self._standardise(features, self._dtype) @ self.weights(l2) + self._offset(l2)

    def predict(
        self, features: Float[np.ndarray, "m d"], l2_values: Sequence[float]
    ) -> Int[np.ndarray, "l2 m"]:
        """Classes of other examples, for each l2: one factorisation each, or one for all of many."""
        few = len(l2_values) <= _FEW
        dtype = self._score_dtype
        solutions = [self.weights(l2).astype(dtype, copy=False) for l2 in l2_values if few]
        found = []
        for start in range(0, len(features), _BLOCK):
            x = self._standardise(features[start : start + _BLOCK], dtype)
            if few:
                scores = ((x @ w, l2) for w, l2 in zip(solutions, l2_values, strict=True))
                found.append([(s + self._offset(l2).astype(dtype)).argmax(1) for s, l2 in scores])
            else:
                found.append(self._along_path(x, l2_values))
        return np.concatenate(found, axis=1)

    def leave_one_out_losses(self, l2_values: Sequence[float]) -> Float[np.ndarray, " l2"]:
        """Mean squared error of training examples when each is predicted from all others, by l2.

        Exact by the closed form residual / (1 - H_ii); centring counts as one fitted parameter. Of
        more than `LEAVE_ONE_OUT_EXAMPLES` examples, so many are looked at.
        """
        step = -(-self._n // LEAVE_ONE_OUT_EXAMPLES)
        rows = slice(step // 2, None, step)
        basis = self.spectrum.vectors[rows] if self._dual else self._x[rows] @ self.spectrum.vectors
        squares, targets = basis**2, self._targets(rows)
        return np.array([self._loss(basis, squares, targets, l2) for l2 in l2_values])

    def best_l2(self, l2_values: Sequence[float] = L2_GRID) -> float:
        """The l2 with the least leave-one-out loss; no test label is seen."""
        return l2_values[int(self.leave_one_out_losses(l2_values).argmin())]

    def _loss(
        self,
        basis: Float[np.ndarray, "rows r"],
        squares: Float[np.ndarray, "rows r"],
        targets: Float[np.ndarray, "rows classes"],
        l2: float,
    ) -> float:
        """Leave-one-out loss of some training examples, given in the basis of eigenvectors."""
        intercept = self._intercept(l2)
        residual = basis @ self.spectrum.weights(l2)
        leverage = squares @ (1 / (self.spectrum.eigenvalues + l2)).astype(self._dtype)
        if self._dual:
            # K / (K + l2) is 1 - l2 / (K + l2): so written, nothing cancels where l2 is small.
            residual *= self._dtype(l2)
            rest = l2 * (leverage - 1 / (self._n * (self._shift + l2))) + (1 - intercept) / self._n
        else:
            np.subtract(targets, residual, out=residual)
            rest = 1 - intercept / self._n - leverage
        residual += (self._target_mean * (1 - intercept)).astype(self._dtype)
        rest = np.maximum(rest, np.finfo(self._dtype).eps).astype(np.float64)
        squared = np.einsum("nc,nc->n", residual, residual) / rest**2
        return float(squared.mean()) / self._classes

    def _along_path(
        self, standardised: Float[np.ndarray, "m d"], l2_values: Sequence[float]
    ) -> Int[np.ndarray, "l2 m"]:
        dtype = standardised.dtype
        path = RidgePath(
            self.spectrum.eigenvalues, self.spectrum.targets.astype(dtype), self._target_mean
        )
        rotated = standardised @ self.spectrum.directions.astype(dtype, copy=False)
        return path.classes(rotated, l2_values, [self._intercept(l2) for l2 in l2_values])

    def _intercept(self, l2: float) -> float:
        """The intercept as a part of the mean target: all of it, or what the penalty leaves."""
        if self._constant is None:
            return 1.0
        weight = self._n * self._constant**2
        return weight / (weight + l2)

    def _offset(self, l2: float) -> Float[np.ndarray, " classes"]:
        return (self._target_mean * self._intercept(l2)).astype(self._dtype)

    def _targets(self, rows: slice) -> Float[np.ndarray, "rows classes"]:
        """Centred targets of some training examples."""
        one_hot = self._labels[rows, None] == np.arange(self._classes)
        return np.where(one_hot, 1 - self._target_mean, -1 - self._target_mean).astype(self._dtype)

    def _standardise(
        self, features: Float[np.ndarray, "m d"], dtype: type
    ) -> Float[np.ndarray, "m d"]:
        x = features.astype(dtype)
        x -= self._mean.astype(dtype, copy=False)
        x /= self._scale.astype(dtype, copy=False)
        return x

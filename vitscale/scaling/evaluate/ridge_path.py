"""Classes that ridge regression predicts for many values of l2, scored only where they may change.

Scores are smooth in l2. From those at one l2 and how far they can move to the next, by Cauchy and
Schwarz, most examples are seen to keep their class: only the rest are scored again. Nothing is
approximated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

_SCORE_ANEW = 0.5  # part of the examples that may change class from which all are scored again
_ROUNDING = 1e-5  # of scores, which are near 1: no smaller margin is trusted


class RidgePath(NamedTuple):
    """Ridge regression in the eigenvectors of its Gram matrix.

    Scores of an example z at one l2 are z @ (targets / (eigenvalues + l2)) + offset(l2), where the
    offset is `target_mean` times the intercept's part of it, from 0 to 1, for that l2.
    """

    eigenvalues: Float[np.ndarray, " r"]
    targets: Float[np.ndarray, "r classes"]
    target_mean: Float[np.ndarray, " classes"]

    def classes(
        self,
        rotated: Float[np.ndarray, "m r"],
        l2_values: Sequence[float],
        intercepts: Sequence[float],
    ) -> Int[np.ndarray, "l2 m"]:
        """The class with the largest score, for each l2 and example."""
        found = np.empty((len(l2_values), len(rotated)), np.int64)
        squares = rotated**2
        known = None
        for place in np.argsort(l2_values):
            l2, intercept = l2_values[place], intercepts[place]
            if known is not None:
                doubtful = self._may_change(known, squares, l2, intercept)
                if doubtful.mean() < _SCORE_ANEW:
                    found[place] = known.classes
                    if doubtful.any():
                        rows = rotated[doubtful]
                        found[place, doubtful] = self.scores(rows, l2, intercept).argmax(1)
                    continue
            known = _Known.of(self.scores(rotated, l2, intercept), l2, intercept)
            found[place] = known.classes
        return found

    def scores(
        self, rotated: Float[np.ndarray, "m r"], l2: float, intercept: float
    ) -> Float[np.ndarray, "m classes"]:
        """Predicted targets at one l2."""
        dtype = self.targets.dtype
        scores = rotated @ (self.targets / (self.eigenvalues + l2).astype(dtype)[:, None])
        scores += (self.target_mean * intercept).astype(dtype)
        return scores

    def _may_change(
        self, known: "_Known", squares: Float[np.ndarray, "m r"], l2: float, intercept: float
    ) -> Bool[np.ndarray, " m"]:
        """Whether an example's class may differ at `l2`, which is no smaller than the known one."""
        change = 1 / (self.eigenvalues + known.l2) - 1 / (self.eigenvalues + l2)
        weight = change.astype(squares.dtype)
        of_class = np.sqrt((weight @ self.targets**2).max())
        moved = 2 * np.sqrt(squares @ weight) * of_class
        moved += abs(intercept - known.intercept) * np.ptp(self.target_mean)
        return known.margins <= moved + _ROUNDING


class _Known(NamedTuple):
    """What scores at one l2 tell: the classes, and how far each was ahead of the next."""

    l2: float
    intercept: float
    classes: Int[np.ndarray, " m"]
    margins: Float[np.ndarray, " m"]

    @classmethod
    def of(cls, scores: Float[np.ndarray, "m classes"], l2: float, intercept: float) -> "_Known":
        classes, rows = scores.argmax(1), np.arange(len(scores))
        best = scores[rows, classes]
        scores[rows, classes] = -np.inf
        return cls(l2, intercept, classes, best - scores.max(1))

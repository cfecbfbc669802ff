"""Memory of a training step between the shapes that were compiled: least squares on what it consists of."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from vitscale.fits.device.errors import left_out_error
from vitscale.scaling.finder.record import Conditions
from vitscale.scaling.shape import Shape


@dataclasses.dataclass(frozen=True)
class MemoryModel:
    """Bytes = k1 params + micro-batch x (what every block keeps + what one block works with).

    What a block keeps grows with tokens x width, tokens x mlp_dim and heads x tokens^2, and depth times
    that; what one works with grows with tokens x mlp_dim and heads x tokens^2. The coefficients are
    not negative and minimise the sum of squared relative errors.
    """

    conditions: Conditions
    shapes: tuple[Shape, ...]
    peak_bytes: tuple[float, ...]

    def bytes(self, shape: Shape) -> float:
        """Estimated peak of one device."""
        return float(_terms(shape, self.conditions) @ self._coefficients)

    @functools.cached_property
    def error(self) -> float | None:
        """Root mean square of the relative errors with which each compiled shape is estimated from the
        others; None for fewer than three."""
        terms, peaks = self._table
        return left_out_error(
            len(peaks),
            lambda kept, out: (
                np.log(max(float(terms[out] @ _fit(terms[kept], peaks[kept])), 1.0))
                - np.log(peaks[out])
            ),
        )

    @functools.cached_property
    def _coefficients(self) -> Float[np.ndarray, " terms"]:
        return _fit(*self._table)

    @functools.cached_property
    def _table(self) -> tuple[Float[np.ndarray, "n terms"], Float[np.ndarray, " n"]]:
        terms = np.array([_terms(shape, self.conditions) for shape in self.shapes])
        return terms, np.array(self.peak_bytes, float)


def _terms(shape: Shape, conditions: Conditions) -> Float[np.ndarray, " terms"]:
    images, tokens = conditions.micro_batch, shape.tokens(conditions.image_size)
    stream, hidden = images * tokens * shape.width, images * tokens * shape.mlp_dim
    attention = images * shape.heads * tokens**2
    kept = [shape.depth * stream, shape.depth * hidden, shape.depth * attention]
    return np.array([conditions.params(shape), *kept, hidden, attention], float)


def _fit(
    terms: Float[np.ndarray, "n terms"], peaks: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " terms"]:
    from scipy.optimize import nnls  # a second to load, for few users

    relative = terms / peaks[:, None]
    # Columns of one size, so that the solver's tolerance means the same for all.
    scale = np.linalg.norm(relative, axis=0)
    coefficients, _ = nnls(relative / scale, np.ones(len(peaks)))
    return coefficients / scale

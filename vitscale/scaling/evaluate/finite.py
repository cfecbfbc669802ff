"""The refusal of features and logits that are NaN or infinite: the model that made them diverged."""

import numpy as np
from jaxtyping import Float


class NotFiniteError(ValueError):
    """A model's features or logits, or its loss in fine-tuning, hold NaN or infinity."""


def check_finite(values: Float[np.ndarray, "..."], what: str) -> None:
    """Raise `NotFiniteError` that says `what` the values are, where they hold NaN or infinity."""
    # A sum overflows or is NaN wherever one value is; only then is every value looked at.
    if not np.isfinite(values.sum(dtype=np.float64)) and not np.isfinite(values).all():
        raise NotFiniteError(f"{what} hold NaN or infinity; the model that made them diverged")

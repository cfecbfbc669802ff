"""Known laws and their noise, that trials are measured by where nothing is trained."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.plan import StarSweep

Law = Callable[[Trial, int], float]
"""Error of a trial's model after a number of examples; not finite: the trial diverges there."""

# The 10-shot fits of Getting ViT in Shape, eq. (2), recovered from the curves of its Figure 5: for
# each dimension alpha, a, beta, b, xi, c, eps, with compute in forward GFLOPs x images.
_PUBLISHED = {
    "width": (100.606561, 30 / 29, 2.42272307, 50 / 29, 473294.713, 18 / 29, 12 / 70),
    "depth": (0.616318536, 20 / 29, 102965.505, 22 / 29, 0.0, 18 / 29, 11 / 70),
    "mlp_dim": (0.363526512, 2 / 29, 419.027002, 36 / 29, 23785437.1, 22 / 29, 3 / 70),
}

PUBLISHED_EXPONENTS = {name: c / (a + b) for name, (_, a, _, b, _, c, _) in _PUBLISHED.items()}
"""s = c / (a + b) of each dimension by those fits: how its best size grows with compute."""


def published_arm_law(star: StarSweep) -> Law:
    """SoViT's published 10-shot fits, for a star through its centre: each arm follows the law of
    its own dimension, and the centre their mean (the three differ by 0.6% there)."""
    dimension_of = functools.cache(star.dimension_of)

    def law(trial: Trial, examples: int) -> float:
        compute = trial.forward_flops_per_example() * examples / 1e9
        dimension = dimension_of(trial.shape)
        errors = []
        for name in star.arms if dimension is None else [dimension]:
            alpha, a, beta, b, xi, c, eps = _PUBLISHED[name]
            size = getattr(trial.shape, name)
            errors.append(alpha * size**-a + (beta * size**b + xi) * compute**-c + eps)
        return sum(errors) / len(errors)

    return law


# a and b of each dimension, made up so that s = 0.65 / (a + b) are near the published 0.23, 0.43, 0.58.
_DECAY = 0.65
_POWERS = {"width": (0.9, 1.8), "depth": (0.6, 0.8), "mlp_dim": (0.4, 0.7)}

SMALL_EXPONENTS = {name: _DECAY / (a + b) for name, (a, b) in _POWERS.items()}
"""s of each dimension by every law of `law_around`."""


def law_around(best: Mapping[str, float], train_flops: float) -> Law:
    """A made-up law of the form of SoViT's eq. (3) with the exponents `SMALL_EXPONENTS`.

    - `best`: the size of each dimension that is best at `train_flops` training FLOPs.
    """

    def law(trial: Trial, examples: int) -> float:
        decay = (trial.train_flops(examples) / train_flops) ** -_DECAY
        error = 0.1 + 0.05 * decay
        for dimension, (a, b) in _POWERS.items():
            size = getattr(trial.shape, dimension) / best[dimension]
            error += 0.1 * (size**-a + a / b * size**b * decay)
        return error

    return law


_SMALL = law_around({"width": 16, "depth": 2, "mlp_dim": 32}, 1e11)


def small_law(trial: Trial, examples: int) -> float:
    """The law of `law_around` for any trial of a CPU's size."""
    return _SMALL(trial, examples)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Relative Gaussian noise of a measurement.

    `own` is drawn for each measurement, `shared` once for each trial (its durations share a trunk).
    The draws depend on `seed` and the trial alone, so that every rehearsal gives the same numbers.
    """

    own: float = 0.0
    shared: float = 0.0
    seed: int = 0

    def factor(self, trial: Trial, examples: int) -> float:
        """What the law's value is multiplied by."""
        factor = 1.0
        for size, about in ((self.own, examples), (self.shared, 0)):
            if size:
                factor += size * self._generator(trial.id, about).standard_normal()
        return factor

    def _generator(self, trial_id: str, examples: int) -> np.random.Generator:
        return np.random.default_rng(_number(f"{self.seed}/{trial_id}/{examples}"))


def exponential(mean: float, about: str) -> float:
    """A waiting time of that mean, drawn for what `about` names and for ever the same."""
    if math.isinf(mean):
        return math.inf
    # The middle of one of 2^64 equal parts of (0, 1]: never 0, whose logarithm is infinite.
    return -mean * math.log((_number(about) + 0.5) / 2.0**64)


def _number(text: str) -> int:
    """64 bits that look random, of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

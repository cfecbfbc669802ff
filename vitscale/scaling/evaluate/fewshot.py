"""Few-shot error of frozen features: a ridge regression to +-1 class targets on a few images a class.

The probe of Scaling Vision Transformers (arXiv 2106.04560, Section 2.2) and its public form,
big_vision `evaluators/fewshot_lsr.py`, with the arithmetic mended (`ridge.py`), the penalty chosen on
the shots themselves instead of fixed, and five draws of the shots instead of three.
`compat="big_vision"` measures by the published protocol, to compare with published numbers.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from vitscale.scaling.evaluate.features import TaskFeatures
from vitscale.scaling.evaluate.frozen import Metric
from vitscale.scaling.evaluate.ridge import PAPER_L2, RidgeProbe

SHOTS = (1, 5, 10, 25)

Compat = Literal["big_vision"]
"""Public code whose protocol can be measured by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How many random draws of the shots, and which ridge regression.

    - `l2`: the penalty; None chooses it for each draw by leave-one-out on the shots.
    - `constant_feature`: appended to the features in place of an unpenalised intercept.
    """

    draws: int
    l2: float | None
    constant_feature: float | None


_PROTOCOL = Protocol(draws=5, l2=None, constant_feature=None)

COMPAT: dict[Compat, Protocol] = {
    # big_vision 0127fb6, evaluators/fewshot_lsr.py: BIAS_CONSTANT, num_seeds, l2_reg of its configs.
    "big_vision": Protocol(draws=3, l2=PAPER_L2, constant_feature=100.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewshotError:
    """Test error at one number of shots: mean and standard deviation over draws of the shots."""

    shots: int
    error: float
    sd: float
    draws: int


def metrics(name: str, features: TaskFeatures) -> Iterator[Metric]:
    """`<task>_<k>shot_error` for each number of shots that every class of the pool can give.

    A pool with too few examples of a class for some number of shots leaves that metric out, with a
    warning: with fewer examples of some classes it would be another task under the same name.
    """
    yield from _metrics(name, features, "shot_error", None)


def big_vision_metrics(name: str, features: TaskFeatures) -> Iterator[Metric]:
    """`<task>_<k>shot_big_vision_error`: the same by big_vision's protocol."""
    yield from _metrics(name, features, "shot_big_vision_error", "big_vision")


def _metrics(
    name: str, features: TaskFeatures, suffix: str, compat: Compat | None
) -> Iterator[Metric]:
    shots = available_shots(features.pool_labels)
    if shots != SHOTS:
        warnings.warn(
            f"{name}: a class of the pool has {_fewest(features.pool_labels)} examples, so it is "
            f"measured at {', '.join(map(str, shots))} shots, not at {', '.join(map(str, SHOTS))}",
            stacklevel=2,
        )
    results = fewshot_errors(
        features.pool,
        features.pool_labels,
        features.test,
        features.test_labels,
        classes=features.classes,
        shots=shots,
        compat=compat,
    )
    for result in results:
        yield Metric(f"{name}_{result.shots}{suffix}", result.error, result.sd, result.draws)


def available_shots(labels: Int[np.ndarray, " pool"]) -> tuple[int, ...]:
    """Those of `SHOTS` that every class in `labels` has examples for."""
    return tuple(count for count in SHOTS if count <= _fewest(labels))


def _fewest(labels: Int[np.ndarray, " pool"]) -> int:
    return int(np.unique(labels, return_counts=True)[1].min())


def draw_shots(
    labels: Int[np.ndarray, " pool"], shots: int, seed: int
) -> Int[np.ndarray, " chosen"]:
    """Positions of `shots` random examples of each class; nested: fewer shots are a subset of more.

    Sorted by class. Raises `ValueError` where a class has fewer examples, which would silently change
    the task.
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
    classes: int | None = None,
    shots: Sequence[int] = SHOTS,
    compat: Compat | None = None,
) -> Iterator[FewshotError]:
    """Test error of ridge probes on frozen features, for each number of `shots`.

    - `classes`: labels are from 0 to `classes` - 1; by default, up to the largest label. A test image
      of a class that the pool lacks counts as an error.
    - `compat`: measure by the protocol of that public code (`COMPAT`).
    """
    protocol = _PROTOCOL if compat is None else COMPAT[compat]
    if classes is None:
        classes = int(max(pool_labels.max(), test_labels.max())) + 1
    for count in shots:
        errors = []
        for seed in range(protocol.draws):
            chosen = draw_shots(pool_labels, count, seed)
            probe = RidgeProbe(
                pool[chosen],
                pool_labels[chosen],
                classes=classes,
                constant_feature=protocol.constant_feature,
            )
            l2 = probe.best_l2() if protocol.l2 is None else protocol.l2
            errors.append(np.mean(probe.predict(test, [l2])[0] != test_labels))
        yield FewshotError(
            shots=count,
            error=float(np.mean(errors)),
            sd=float(np.std(errors)),
            draws=protocol.draws,
        )

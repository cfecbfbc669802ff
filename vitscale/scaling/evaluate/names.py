"""What a recipe can ask to be measured by, by name; pure Python, to refuse a plan without jax."""

from collections.abc import Iterable

from vitscale.scaling.names import suggest

NAMES = (
    "upstream",
    "fewshot",
    "fewshot_big_vision",
    "knn",
    "linear_probe",
    "finetune",
    "finetune_high_resolution",
)
"""Every evaluator of `evaluate/table.py`, where each name has its function."""


def check_evaluators(names: Iterable[str]) -> None:
    """Raise `ValueError` that names the first of `names` that is no evaluator, or stands twice."""
    seen = set()
    for name in names:
        if name not in NAMES:
            raise ValueError(f"evaluators: {name!r} is unknown; {suggest(name, NAMES)}")
        if name in seen:
            raise ValueError(f"evaluators: {name!r} stands twice; name each once")
        seen.add(name)

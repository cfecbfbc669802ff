"""Every evaluator by name, and the evaluation of a model by those that its recipe names.

A new evaluator is a file beside its peers, a row here, and its name in `names.py`.
"""

from collections.abc import Iterator

from vitscale.scaling.data.batch import Source
from vitscale.scaling.evaluate import fewshot, finetune, knn, linear_probe, upstream
from vitscale.scaling.evaluate.features import Probe, task_features
from vitscale.scaling.evaluate.frozen import Evaluator, FrozenModel, Metric
from vitscale.scaling.evaluate.names import check_evaluators

EVALUATORS: dict[str, Evaluator] = {
    "upstream": upstream.metrics,
    "finetune": finetune.metrics,
    "finetune_high_resolution": finetune.high_resolution_metrics,
}
"""Evaluators that read images and parameters."""

PROBES: dict[str, Probe] = {
    "fewshot": fewshot.metrics,
    "fewshot_big_vision": fewshot.big_vision_metrics,
    "knn": knn.metrics,
    "linear_probe": linear_probe.metrics,
}
"""Evaluators that read frozen features alone; all of them share one pass over a task's images."""


def evaluate(model: FrozenModel, source: Source) -> Iterator[Metric]:
    """Every metric that `model.recipe.evaluators` ask for, each as soon as it is known.

    Raises `NotFiniteError` where the model's outputs are NaN or infinite, `ValueError` where a name is
    unknown.
    """
    names = model.recipe.evaluators
    check_evaluators(names)
    for name in names:
        if name in EVALUATORS:
            yield from EVALUATORS[name](model, source)
    probes = [PROBES[name] for name in names if name in PROBES]
    if probes:
        for task_name, build in source.fewshot_tasks.items():
            features = task_features(model, build())
            for probe in probes:
                yield from probe(task_name, features)

"""Stored images as a source to train on and to measure on."""

import functools

from vitscale.scaling.data.batch import FewshotTask, Source
from vitscale.scaling.data.image_sets import stored_images
from vitscale.scaling.data.selection import fewshot_selection, metric_prefix, selection_of
from vitscale.scaling.data.streams import stream
from vitscale.scaling.recipe import Recipe


def real_source(recipe: Recipe) -> Source:
    """The images of a recipe whose data is stored: KIND:PLACE.

    Raises `ValueError` where they cannot be had or do not suit the recipe.
    """
    selection = selection_of(recipe)
    return Source(
        classes=selection.stored.classes,
        stream=functools.partial(stream, recipe, selection),
        evaluation=functools.partial(stored_images, selection.stored, selection.evaluation, recipe),
        fewshot_tasks={
            metric_prefix(data): functools.partial(_task, data, recipe)
            for data in recipe.fewshot_data or (recipe.data,)
        },
    )


def _task(data: str, recipe: Recipe) -> FewshotTask:
    stored, pool, test = fewshot_selection(data, recipe)
    return FewshotTask(
        pool=stored_images(stored, pool, recipe), test=stored_images(stored, test, recipe)
    )

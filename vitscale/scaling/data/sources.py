"""The images that a recipe names: where training batches come from, and what to measure on."""

from vitscale.scaling.data.batch import Source
from vitscale.scaling.data.catalog import PIXELS, check_trainable
from vitscale.scaling.data.kinds import is_stored
from vitscale.scaling.recipe import Recipe


def source_for(recipe: Recipe) -> Source:
    """Training batches and tasks of the data that `recipe` names.

    Raises `ValueError` where the data are not known, not there, or not what the recipe says.
    """
    facts = check_trainable(recipe)
    if is_stored(recipe.data):
        from vitscale.scaling.data.real import real_source

        return real_source(recipe)
    if recipe.data.startswith(PIXELS):
        from vitscale.scaling.data.pixels import pixel_source

        return pixel_source(recipe)
    from vitscale.scaling.data import digits, glyphs

    return Source(
        classes=facts.classes,
        drawn=glyphs.training_batch,
        evaluation=glyphs.evaluation_images,
        fewshot_tasks={"glyphs": glyphs.held_out_task, "digits": digits.task},
    )

"""Where a plan's images are too few for its training lengths, before anything is spent."""

from collections.abc import Iterable

from vitscale.scaling.data.kinds import is_stored
from vitscale.scaling.data.selection import selection_of
from vitscale.scaling.recipe import Trial

MOST_EPOCHS = 50
"""Passes over the images above which mostly their repetition is measured."""

LEAST_IMAGES = 100
"""Images to measure on below which an error is known to no better than some percent."""


def data_warnings(trials: Iterable[Trial]) -> tuple[str, ...]:
    """A sentence for each data set that repeats often or has hardly any image to measure on.

    Data that cannot be had here, or is drawn without end, gives none: other places refuse it.
    """
    longest = {}
    for trial in trials:
        longest[trial.recipe] = max(longest.get(trial.recipe, 0), *trial.durations)
    found: dict[str, None] = {}  # ordered, and each sentence once
    for recipe, examples in longest.items():
        if not is_stored(recipe.data):
            continue
        try:
            selection = selection_of(recipe)
        except (ValueError, OSError):
            continue
        epochs = examples / selection.train_examples
        if epochs > MOST_EPOCHS:
            found[
                f"{recipe.data}: {examples:,} examples are {epochs:,.0f} passes over its "
                f"{selection.train_examples:,} images, and above {MOST_EPOCHS} mostly overfitting is measured; train "
                f"shorter, or on more images"
            ] = None
        held_out = sum(part.examples for part in selection.evaluation)
        if held_out < LEAST_IMAGES:
            found[
                f"{recipe.data}: {held_out} images to measure on are fewer than {LEAST_IMAGES}, so an error is known "
                f"to no better than {100 * 0.5 / held_out**0.5:.0f} percent points (one standard deviation); keep more apart"
            ] = None
    return tuple(found)

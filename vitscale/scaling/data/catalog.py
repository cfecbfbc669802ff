"""Facts about the data sets that a recipe can name: enough to refuse a plan without importing jax."""

import dataclasses

from vitscale.scaling.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Classes to train on, and the size and channels of the images."""

    classes: int
    image_size: int
    channels: int


CATALOG: dict[str, DataFacts] = {
    "glyphs": DataFacts(classes=128, image_size=16, channels=1),
}
"""Data sets that can be trained on here."""

UNAVAILABLE: dict[str, str] = {
    "jft-3b": "JFT-3B is internal to Google and was never published",
}
"""Data sets that recipes of the papers name, and why nobody can train on them."""


def check_trainable(recipe: Recipe) -> DataFacts:
    """Facts of the recipe's data.

    Raises `ValueError` where its data cannot be had, its images differ from what the recipe says, or
    its optimizer is one that this version can plan with but not run.
    """
    if recipe.data in UNAVAILABLE:
        raise ValueError(
            f"data={recipe.data!r} cannot be trained on here: {UNAVAILABLE[recipe.data]}; plan and "
            f"price this sweep, or run its shapes with a recipe whose data you have"
        )
    if recipe.data not in CATALOG:
        raise ValueError(f"data={recipe.data!r} is unknown; choose from {', '.join(CATALOG)}")
    facts = CATALOG[recipe.data]
    if (recipe.image_size, recipe.channels) != (facts.image_size, facts.channels):
        raise ValueError(
            f"data={recipe.data!r} has images of {facts.image_size} pixels and {facts.channels} "
            f"channels; set image_size={facts.image_size} and channels={facts.channels} "
            f"(got {recipe.image_size} and {recipe.channels})"
        )
    if recipe.optimizer != "adamw":
        raise ValueError(
            f"optimizer={recipe.optimizer!r} can be planned and priced but not trained by this "
            f"version; use optimizer='adamw'"
        )
    return facts

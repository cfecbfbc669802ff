"""Facts about the data that a recipe can name: enough to refuse a plan without importing jax."""

import dataclasses

from vitscale.scaling.data.kinds import KINDS, is_stored
from vitscale.scaling.data.selection import fewshot_selection, selection_of
from vitscale.scaling.names import suggest
from vitscale.scaling.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Classes to train on, and the size and channels of the images as they are trained on.

    `train_examples` is None for data without end.
    """

    classes: int
    image_size: int
    channels: int
    train_examples: int | None = None


CATALOG: dict[str, DataFacts] = {
    "glyphs": DataFacts(classes=128, image_size=16, channels=1),
}
"""Data that is made on the device. Stored images are named by their kind: `kinds.KINDS`."""

PIXELS = "pixels:"
"""Random pixels of any size, named with their number of classes: "pixels:1000". For measuring speed."""

UNAVAILABLE: dict[str, str] = {
    "jft-3b": "JFT-3B is internal to Google and was never published",
    "imagenet21k": "ImageNet-21k is in no TFDS; get it from image-net.org and name its folder as "
    "data='folder:PATH'",
}
"""Data sets that recipes of the papers name, and why nobody can train on them."""


def check_trainable(recipe: Recipe) -> DataFacts:
    """Facts of the recipe's data.

    Raises `ValueError` where its data cannot be had, or its images differ from what the recipe says.
    """
    if recipe.data in UNAVAILABLE:
        raise ValueError(
            f"data={recipe.data!r} cannot be trained on here: {UNAVAILABLE[recipe.data]}; plan and "
            f"price this sweep, or run its shapes with a recipe whose data you have"
        )
    if is_stored(recipe.data):
        return _stored_facts(recipe)
    if recipe.data.startswith(PIXELS):
        return DataFacts(
            classes=pixel_classes(recipe.data),
            image_size=recipe.image_size,
            channels=recipe.channels,
        )
    if recipe.data not in CATALOG:
        near = suggest(recipe.data.partition(":")[0], [*CATALOG, *KINDS], listed=False)
        raise ValueError(
            f"data={recipe.data!r} is unknown; {near}choose from {', '.join(CATALOG)}, or name images on "
            f"disk as {', '.join(f'{kind}:PLACE' for kind in KINDS)}"
        )
    facts = CATALOG[recipe.data]
    if (recipe.image_size, recipe.channels) != (facts.image_size, facts.channels):
        raise ValueError(
            f"data={recipe.data!r} has images of {facts.image_size} pixels and {facts.channels} "
            f"channels; set image_size={facts.image_size} and channels={facts.channels} "
            f"(got {recipe.image_size} and {recipe.channels})"
        )
    _check_drawn(recipe)
    return facts


_OF_STORED_IMAGES = (
    "crop",
    "flip",
    "eval_crop_ratio",
    "randaugment_layers",
    "randaugment_magnitude",
    "train_split",
    "eval_split",
    "fewshot_data",
)


def _check_drawn(recipe: Recipe) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    for name in _OF_STORED_IMAGES:
        value, default = getattr(recipe, name), defaults[name]
        if value != default:
            raise ValueError(
                f"{name}={value!r} does nothing for data={recipe.data!r}, which is drawn as it is "
                f"trained on and brings its own images to measure on; leave it at {default!r}, or "
                f"name images on disk as {', '.join(f'{kind}:PLACE' for kind in KINDS)}"
            )


def _stored_facts(recipe: Recipe) -> DataFacts:
    selection = selection_of(recipe)
    for data in recipe.fewshot_data:
        fewshot_selection(data, recipe)
    return DataFacts(
        classes=selection.stored.classes,
        image_size=recipe.image_size,
        channels=recipe.channels,
        train_examples=selection.train_examples,
    )


def pixel_classes(data: str) -> int:
    """How many classes "pixels:CLASSES" has; raises `ValueError` where it does not say."""
    number = data.removeprefix(PIXELS)
    if not (number.isascii() and number.isdecimal() and int(number)):
        raise ValueError(
            f"data={data!r} names random pixels without their classes; write it as {PIXELS}1000"
        )
    return int(number)

"""Which images a recipe trains and is measured on, refused where they do not suit it.

Pure Python but for numpy: no image is opened.
"""

import dataclasses
import re

from vitscale.scaling.data.kinds import stored_set
from vitscale.scaling.data.splits import Part, evaluation_split, parts_of
from vitscale.scaling.data.stored import StoredSet
from vitscale.scaling.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """A stored data set, the parts of it to train on, and those to measure on."""

    stored: StoredSet
    train: tuple[Part, ...]
    evaluation: tuple[Part, ...]

    @property
    def train_examples(self) -> int:
        return sum(part.examples for part in self.train)


def selection_of(recipe: Recipe) -> Selection:
    """The images of a recipe whose data is stored.

    Raises `ValueError` where the data set or a split is missing, and where images, channels or the
    batch do not fit the recipe, and where the metrics of two few-shot sets would have one name.
    """
    _check_metric_names(recipe)
    stored = stored_set(recipe.data)
    selection = Selection(
        stored=stored,
        train=parts_of(recipe.train_split, stored),
        evaluation=parts_of(recipe.eval_split or evaluation_split(stored), stored),
    )
    _check_overlap(recipe, selection)
    _check_images(recipe, stored)
    if recipe.batch_size > selection.train_examples:
        raise ValueError(
            f"batch_size={recipe.batch_size} is more than the {selection.train_examples} examples of "
            f"train_split={recipe.train_split!r} of data={recipe.data!r}"
        )
    return selection


def fewshot_selection(
    data: str, recipe: Recipe
) -> tuple[StoredSet, tuple[Part, ...], tuple[Part, ...]]:
    """A data set to probe on: what few-shot sets are drawn from, and what they are tested on.

    The pool is the first 65,000 training examples, as in big_vision's probe of ImageNet. Of the
    recipe's own data, pool and test are its own splits.
    """
    if data == recipe.data:
        selection = selection_of(recipe)
        return selection.stored, _first(selection.train, POOL_EXAMPLES), selection.evaluation
    stored = stored_set(data)
    pool = _first(parts_of("train", stored), POOL_EXAMPLES)
    return stored, pool, parts_of(evaluation_split(stored), stored)


POOL_EXAMPLES = 65_000


def metric_prefix(data: str) -> str:
    """What metrics on a data set begin with: its name in lower case letters, digits and `_`.

    The kind, the version and the folders of a path are left out.
    """
    kind, _, place = data.partition(":")
    name = place.partition(":")[0] if kind == "tfds" else place.rstrip("/").rpartition("/")[2]
    name = name.removesuffix(".npz")
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or kind


def _first(parts: tuple[Part, ...], examples: int) -> tuple[Part, ...]:
    kept = []
    for part in parts:
        taken = min(part.examples, examples - sum(other.examples for other in kept))
        if taken > 0:
            kept.append(part._replace(stop=part.start + taken))
    return tuple(kept)


def _check_metric_names(recipe: Recipe) -> None:
    named: dict[str, str] = {}
    for data in recipe.fewshot_data:
        prefix = metric_prefix(data)
        if prefix in named:
            raise ValueError(
                f"fewshot_data: the metrics of {named[prefix]!r} and of {data!r} would both be named "
                f"{prefix!r}; leave one of them out, or give its folder or file another name"
            )
        named[prefix] = data


def _check_overlap(recipe: Recipe, selection: Selection) -> None:
    for train in selection.train:
        for other in selection.evaluation:
            shared = min(train.stop, other.stop) - max(train.start, other.start)
            if train.split == other.split and shared > 0:
                raise ValueError(
                    f"train_split={recipe.train_split!r} and eval_split={recipe.eval_split!r} share "
                    f"{shared} examples of {train.split!r}; measure on others than were trained on, "
                    f"as with train_split='train[:99%]' and eval_split='train[99%:]'"
                )


def _check_images(recipe: Recipe, stored: StoredSet) -> None:
    if stored.channels not in (None, 1, 3):
        raise ValueError(
            f"data={stored.name!r} has images of {stored.channels} channels, but only grey (1) and "
            f"colour (3) can be trained on; store them again as one of the two"
        )
    if recipe.channels not in (1, 3):
        raise ValueError(f"channels={recipe.channels}: stored images are grey (1) or in colour (3)")
    if stored.channels is not None and recipe.channels != stored.channels:
        raise ValueError(
            f"data={stored.name!r} has images of {stored.channels} channels; set "
            f"channels={stored.channels} (got {recipe.channels})"
        )
    size = (recipe.image_size, recipe.image_size)
    if recipe.crop == "none" and stored.image_shape not in (None, size):
        height, width = stored.image_shape
        raise ValueError(
            f"data={stored.name!r} has images of {height} x {width} pixels, which crop='none' takes "
            f"as they are; "
            + (f"set image_size={width}, or " if height == width else "")
            + f"use crop='inception' or 'pad', which resize (got image_size={recipe.image_size})"
        )
    if recipe.crop == "none" and recipe.eval_crop_ratio < 1:
        raise ValueError(
            f"crop='none' trains on whole images, but eval_crop_ratio={recipe.eval_crop_ratio:g} "
            f"would measure on their enlarged middle; set eval_crop_ratio=1, or use "
            f"crop='inception', which trains on parts of images"
        )

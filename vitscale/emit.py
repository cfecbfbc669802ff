"""The shape of an answer as files: its model for every framework, and a trial that trains it."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from vitscale.fits.answer import Answer
from vitscale.fits.export import (
    ModelSpec,
    Training,
    Written,
    target_texts,
    targets_named,
    write_texts,
)
from vitscale.fits.export.held import refuse_mixture
from vitscale.scaling.data.catalog import CATALOG, UNAVAILABLE
from vitscale.scaling.recipe import Trial
from vitscale.scaling.recipes import RECIPES
from vitscale.sweeps.decode import refuse_unknown

_WITH_RECIPE = ("big_vision", "trial")
_USUAL_RECIPE = "scaling-vit"


def emit_answer(
    found: Answer,
    names: Iterable[str],
    folder: Path,
    *,
    classes: int = 0,
    recipe: str | None = None,
    data: str | None = None,
) -> Written:
    """Write the answer's shape for the targets called `names`, with where it comes from.

    - `classes`: outputs of the classifier; 0 for none.
    - `recipe`, `data`: of the trial and of big_vision's config; by default as in `usual_recipe`, and
      the recipe's own.

    Raises what `vitscale.fits.export.write_targets` raises, and `ValueError` for an unknown recipe,
    where a target that was named needs one that does not go with this answer, and where files of
    another shape would stay in the folder.
    """
    texts, notes = answer_texts(found, names, folder, classes=classes, recipe=recipe, data=data)
    refuse_mixture(found.shape, found.setting.image_size, folder, texts)
    return write_texts(texts, notes)


def answer_texts(
    found: Answer,
    names: Iterable[str],
    folder: Path,
    *,
    classes: int = 0,
    recipe: str | None = None,
    data: str | None = None,
    lies_in: Path | None = None,
) -> tuple[dict[Path, str], tuple[str, ...]]:
    """What `emit_answer` would write, by path, and its notes; nothing is written.

    - `lies_in`: as in `vitscale.fits.export.target_texts`.
    """
    names = tuple(names)
    wanted = [name for name in targets_named(names) if name in _WITH_RECIPE]
    training: Training | str = "no target needs one"
    notes: list[str] = []
    if wanted:
        base = usual_recipe(found) if recipe is None else recipe
        refuse_unknown([base], RECIPES, "--recipe")
        try:
            training = training_of(found, base, data)
        except ValueError as error:
            training = f"by recipe {base!r}, {error}; name another with --recipe"
    texts, left_out = target_texts(
        _spec(found, classes), names, folder, training=training, lies_in=lies_in
    )
    if isinstance(training, Training) and (why := UNAVAILABLE.get(training.recipe["data"])):
        notes.append(
            f"{' and '.join(wanted)}: the recipe {training.base!r} trains on "
            f"{training.recipe['data']!r}, but {why}; name your data with --data"
        )
    return texts, (*left_out, *notes)


def usual_recipe(found: Answer) -> str:
    """The recipe of the embedded data where the model takes its images, else the papers'."""
    setting = found.setting
    for name, recipe in RECIPES.items():
        facts = CATALOG.get(recipe.data)
        taken = facts and (facts.image_size, facts.channels)
        if taken == (setting.image_size, setting.channels):
            return name
    return _USUAL_RECIPE


def training_of(found: Answer, base: str, data: str | None) -> Training:
    """Training the answer's shape by the named recipe `base` for as long as the answer says.

    Raises `ValueError` where the recipe refuses the data, or its warmup is longer than that.
    """
    setting = found.setting
    changes = {} if data is None else {"data": data}
    recipe = dataclasses.replace(
        RECIPES[base],
        image_size=setting.image_size,
        channels=setting.channels,
        readout=setting.readout,
        **changes,
    )
    examples = max(1, round(found.images / recipe.batch_size)) * recipe.batch_size
    trial = Trial(shape=found.shape, recipe=recipe, durations=(examples,))
    return Training(
        base=base,
        recipe=dataclasses.asdict(recipe),
        learning_rate=recipe.peak_learning_rate(found.shape),
        cooldown_steps=recipe.cooldown_steps_of(trial.steps(examples)),
        examples=examples,
    )


def _spec(found: Answer, classes: int) -> ModelSpec:
    setting = found.setting
    return ModelSpec(
        shape=found.shape,
        image_size=setting.image_size,
        readout=setting.readout,
        channels=setting.channels,
        classes=classes,
        provenance={"train_flops": found.flops, "images": found.images, "source": found.source},
    )

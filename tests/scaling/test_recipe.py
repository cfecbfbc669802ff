"""Identity, cost and refusals of recipes and trials."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitscale.scaling.recipe import TRUNK_SCHEDULES, Recipe, Trial, shortest_duration
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape

SHAPE = Shape(width=32, depth=2, mlp_dim=64, heads=4, patch=4)
RECIPE = Recipe(
    data="glyphs",
    image_size=16,
    batch_size=10,
    learning_rate=1e-3,
    warmup_steps=5,
    timescale_steps=50,
    cooldown_steps=20,
)
TRIAL = Trial(shape=SHAPE, recipe=RECIPE, durations=(200, 400, 800))


def trial(durations: tuple[int, ...] = (400,), **recipe) -> Trial:
    return Trial(shape=SHAPE, recipe=dataclasses.replace(RECIPE, **recipe), durations=durations)


def test_ids_are_pinned():
    # Stored files are named by these: a change here orphans every stored measurement, so it needs a
    # line under "Results change" in the changelog.
    assert TRIAL.id == "d89452777549"
    assert RECIPE.id == "275c1e0c13f9"
    assert trial(schedule="cosine").id == "8420699de565"


@pytest.mark.parametrize("schedule", TRUNK_SCHEDULES)
def test_one_more_duration_is_the_same_trial_where_the_trunk_is_shared(schedule):
    assert (
        trial((400,), schedule=schedule).id
        == trial((200, 400), schedule=schedule).id
        == trial((800,), schedule=schedule).id
    )


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_another_duration_is_another_trial_where_the_schedule_is_tied_to_its_end(schedule):
    assert trial((400,), schedule=schedule).id != trial((800,), schedule=schedule).id


# A valid other value for each field of the recipe.
OTHER = {
    "data": "digits",
    "image_size": 20,
    "channels": 1,
    "readout": "map",
    "batch_size": 20,
    "loss": "sigmoid",
    "label_smoothing": 0.1,
    "optimizer": "adafactor",
    "learning_rate": 2e-3,
    "reference_width": 32,
    "reference_depth": 2,
    "lr_width_exponent": 0.5,
    "lr_depth_exponent": 0.5,
    "schedule": "constant",
    "warmup_steps": 6,
    "timescale_steps": 51,
    "cooldown_steps": 10,
    "cooldown_max_fraction": 0.4,
    "body_weight_decay": 0.1,
    "head_weight_decay": 0.1,
    "clip_norm": 2.0,
    "adam_b1": 0.8,
    "adam_b2": 0.99,
    "momentum_dtype": "bfloat16",
    "precision": "bfloat16",
    "seed": 1,
    "train_split": "train[:50%]",
    "eval_split": "test",
    "crop": "inception",
    "crop_min_area": 0.2,
    "flip": True,
    "eval_crop_ratio": 0.875,
    "mixup": 0.2,
    "randaugment_layers": 2,
    "randaugment_magnitude": 15,
    "dropout": 0.1,
    "stochastic_depth": 0.1,
    "lr_scaling": "mup",
    "evaluators": ("upstream",),
    "fewshot_data": ("tfds:cifar100",),
    "lr_retries": 2,
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_of_the_recipe_is_part_of_the_identity(field):
    changed = trial(**{field: OTHER[field]})
    assert changed.id != trial().id
    # Seeds are repetitions of one experiment: the only field that the recipe's own id leaves out.
    assert (changed.recipe.id == RECIPE.id) == (field == "seed")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Shape)])
def test_every_size_is_part_of_the_identity(field):
    other = {"width": 36, "depth": 3, "mlp_dim": 65, "heads": 8, "patch": 8}[field]
    changed = dataclasses.replace(TRIAL, shape=dataclasses.replace(SHAPE, **{field: other}))
    assert changed.id != TRIAL.id


def test_a_recipe_survives_json():
    for recipe in (RECIPE, *RECIPES.values()):
        copy = Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe))))
        assert copy == recipe
        assert copy.id == recipe.id


def run_every_step(trial: Trial, durations: tuple[int, ...]) -> set[tuple[str | int, int]]:
    """Every optimizer step that is run, as (trunk or the duration of a branch, step), each once."""
    done: set[tuple[str | int, int]] = set()
    for duration in durations:
        last = duration // trial.recipe.batch_size
        cooldown = min(trial.recipe.cooldown_steps, int(last * trial.recipe.cooldown_max_fraction))
        for step in range(last):
            in_trunk = step < last - cooldown
            done.add(("trunk" if in_trunk else duration, step))
    return done


@given(
    steps=st.sets(st.integers(1, 200), min_size=1, max_size=5),
    cooldown=st.integers(0, 150),
    fraction=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    schedule=st.sampled_from(TRUNK_SCHEDULES),
    data=st.data(),
)
def test_spent_steps_by_running_every_step(steps, cooldown, fraction, schedule, data):
    durations = tuple(sorted(10 * n for n in steps))
    planned = trial(
        durations,
        schedule=schedule,
        warmup_steps=0,
        cooldown_steps=cooldown,
        cooldown_max_fraction=fraction,
    )
    chosen = tuple(data.draw(st.sets(st.sampled_from(durations))))
    assert planned.spent_steps(chosen) == len(run_every_step(planned, chosen))
    assert planned.spent_steps() == len(run_every_step(planned, durations))
    flops_per_step = 10 * 3.0 * SHAPE.forward_flops(image_size=16)
    assert planned.spent_flops(chosen) == pytest.approx(
        flops_per_step * len(run_every_step(planned, chosen))
    )
    separate = sum(len(run_every_step(planned, (duration,))) for duration in durations)
    assert planned.separate_flops() == pytest.approx(flops_per_step * separate)
    assert planned.spent_flops() <= planned.separate_flops()


def test_spent_steps_written_out():
    # Cooldowns of 10, 20 and 20 steps leave the trunk at 10, 20 and 60 of 20, 40 and 80.
    assert [TRIAL.trunk_steps(d) for d in TRIAL.durations] == [10, 20, 60]
    assert TRIAL.spent_steps() == 60 + 10 + 20 + 20
    assert TRIAL.spent_steps((200, 400)) == 20 + 10 + 20
    assert TRIAL.spent_steps(()) == 0


def test_a_schedule_tied_to_its_end_has_no_branch():
    planned = trial(schedule="cosine")
    assert planned.trunk_steps(400) == planned.steps(400) == planned.spent_steps() == 40
    assert planned.spent_flops() == planned.separate_flops() == planned.train_flops(400)


def test_costs_are_those_of_the_model_that_is_trained():
    planned = trial(readout="map", channels=1)
    convention = {"image_size": 16, "channels": 1, "readout": "map"}
    assert planned.params() == SHAPE.params(**convention)
    assert planned.forward_flops_per_example() == SHAPE.forward_flops(**convention)
    assert planned.forward_flops_per_example("mac") == SHAPE.forward_flops(
        **convention, counting="mac"
    )
    assert planned.train_flops(400) == SHAPE.train_flops(400, **convention)


def test_peak_learning_rate_follows_width_and_depth():
    recipe = dataclasses.replace(
        RECIPE,
        reference_width=128,
        reference_depth=8,
        lr_width_exponent=1.0,
        lr_depth_exponent=0.5,
    )
    assert recipe.peak_learning_rate(SHAPE) == pytest.approx(1e-3 * (128 / 32) * (8 / 2) ** 0.5)
    assert RECIPE.peak_learning_rate(SHAPE) == 1e-3


def test_the_sovit_recipe_shortens_its_cooldown_for_short_runs_only():
    # Getting ViT in Shape, Table 5: cooldown of 50K steps.
    recipe = RECIPES["sovit"]
    assert recipe.cooldown_steps_of(500_000) == 50_000
    assert recipe.cooldown_steps_of(20_000) == 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout": "mean"}, "readout='mean' is unknown; choose from gap, map, tok"),
        ({"schedule": "step"}, "schedule='step' is unknown; choose from rsqrt, constant, cosine"),
        ({"optimizer": "sgd"}, "optimizer='sgd' is unknown; choose from adamw, adafactor"),
        ({"precision": "fp8"}, "precision='fp8' is unknown; choose from float32, bfloat16"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number from 1 to 1e"),
        ({"batch_size": 12.0}, r"batch_size=12\.0 is not a whole number"),
        ({"warmup_steps": True}, "warmup_steps=True is not a whole number"),
        ({"learning_rate": -1e-3}, r"learning_rate=-0\.001 is not a number from 0 to 1000"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is not a number"),
        ({"learning_rate": 0.0}, "learning_rate=0 trains nothing; use a positive number"),
        ({"learning_rate": "1e-3"}, "learning_rate='1e-3' is not a number"),
        ({"cooldown_max_fraction": 1.5}, r"cooldown_max_fraction=1\.5 is not a number from 0 to 1"),
        ({"label_smoothing": 1}, r"label_smoothing=1 is not a number from 0 to 0\.999"),
    ],
)
def test_impossible_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RECIPE, **change)


@pytest.mark.parametrize(
    ("durations", "change", "message"),
    [
        ((), {}, r"durations=\[\] must be distinct and ascending, in examples"),
        ((400, 200), {}, r"durations=\[400, 200\] must be distinct and ascending"),
        ((200, 200), {}, r"durations=\[200, 200\] must be distinct and ascending"),
        ((404,), {}, "404 examples is not a multiple of batch_size=10; use 400"),
        (
            (44,),
            {"warmup_steps": 21},
            "44 examples is not a multiple of batch_size=10; use 410",
        ),
        ((3,), {}, "3 examples is not a multiple of batch_size=10; use 90"),
        (
            (400,),
            {"warmup_steps": 21},
            "the cooldown to 400 examples would start at step 20, inside the warmup of 21 steps; "
            "use a longer duration, from 410 on, or a shorter warmup",
        ),
        (
            (200, 400),
            {"schedule": "cosine"},
            "schedule='cosine' is tied to the end of training, so a trial has one duration, got 2; "
            "use rsqrt or constant, or one trial for each duration",
        ),
        ((400,), {"image_size": 3}, "image_size=3 is smaller than patch=4"),
    ],
)
def test_impossible_trials_are_refused(durations, change, message):
    with pytest.raises(ValueError, match=message):
        trial(durations, **change)


@pytest.mark.parametrize("warmup_steps", [0, 1, 7, 50])
@pytest.mark.parametrize("cooldown_steps", [0, 5, 40])
@pytest.mark.parametrize("cooldown_max_fraction", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("schedule", ["rsqrt", "cosine"])
def test_the_shortest_duration_is_the_first_that_is_not_refused(
    schedule, warmup_steps, cooldown_steps, cooldown_max_fraction
):
    def is_refused(steps: int) -> bool:
        try:
            Trial(shape=SHAPE, recipe=recipe, durations=(steps * recipe.batch_size,))
        except ValueError:
            return True
        return False

    recipe = dataclasses.replace(
        RECIPE,
        schedule=schedule,
        warmup_steps=warmup_steps,
        cooldown_steps=cooldown_steps,
        cooldown_max_fraction=cooldown_max_fraction,
    )
    first = next(steps for steps in range(1, 200) if not is_refused(steps))
    assert shortest_duration(recipe) == first * recipe.batch_size


def test_a_trial_may_leave_the_trunk_right_after_warmup():
    assert trial(warmup_steps=20).trunk_steps(400) == 20

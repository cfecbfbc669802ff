"""Plans: which trials a sweep has, and which sweeps are refused."""

import dataclasses

import pytest
from sweep_samples import CENTER, DURATIONS, RECIPE, star_plan

from vitscale.scaling.shape import DIMENSIONS, Shape
from vitscale.sweeps.plan import GridSweep, Part, Plan, StarSweep

ARMS = {"width": (8, 16), "depth": (1, 2, 3), "mlp_dim": (16, 64)}


def star(**changes) -> StarSweep:
    values = {"center": CENTER, "arms": ARMS, "recipe": RECIPE, "durations": DURATIONS}
    return StarSweep(**({**values, "head_dim": 8} | changes))


def grid(**changes) -> GridSweep:
    values = {"widths": (8, 16), "depths": (1, 2), "mlp_dims": (16, 24, 32), "patch": 4}
    return GridSweep(
        **({**values, "recipe": RECIPE, "durations": DURATIONS, "head_dim": 8} | changes)
    )


def test_a_star_moves_one_dimension_at_a_time():
    shapes = star().shapes()
    assert shapes[0] == CENTER
    assert len(shapes) == 1 + 2 + 3 + 2
    for shape in shapes[1:]:
        changed = [d for d in DIMENSIONS if getattr(shape, d) != getattr(CENTER, d)]
        assert len(changed) == 1
        assert getattr(shape, changed[0]) in ARMS[changed[0]]
        assert star().dimension_of(shape) == changed[0]
        assert shape.head_dim == 8
    assert star().dimension_of(CENTER) is None


def test_a_star_keeps_the_centres_heads_without_head_dim():
    fixed = star(head_dim=None, arms={"width": (12, 24)})
    assert [shape.heads for shape in fixed.shapes()] == [6, 6, 6]


def test_a_grid_is_the_cross_product():
    shapes = grid().shapes()
    sizes = {(s.width, s.depth, s.mlp_dim) for s in shapes}
    assert sizes == {(w, d, m) for w in (8, 16) for d in (1, 2) for m in (16, 24, 32)}
    assert len(shapes) == 12
    assert {s.heads for s in grid(head_dim=None, heads=4).shapes()} == {4}


def test_a_star_with_parts_trains_them_alone():
    sweep = star(seeds=(0, 1))
    whole = {trial.id: trial for trial in Plan(name="whole", sweep=sweep).trials}
    parts = (
        Part(dimension="depth", size=2, seeds=(1,), durations=DURATIONS),
        Part(seeds=(0, 1), durations=DURATIONS[1:]),
    )
    trials = Plan(name="parts", sweep=dataclasses.replace(sweep, only=parts)).trials
    assert [(t.shape.depth, t.recipe.seed, t.durations) for t in trials] == [
        (2, 1, DURATIONS),
        (CENTER.depth, 0, DURATIONS[1:]),
        (CENTER.depth, 1, DURATIONS[1:]),
    ]
    # They are trials of the whole star, so what a store holds of them is not trained again.
    assert {trial.id for trial in trials} <= whole.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": "depth"}, r"only\[1\]: dimension='depth' and size=None go together"),
        ({"dimension": "depth", "size": 9}, r"only\[1\]: depth=9 is not a size of the star's arms"),
        (
            {"seeds": (5,)},
            r"only\[1\]: seeds=\[5\] must be distinct, ascending, and among .* \[0\]",
        ),
        ({"durations": ()}, r"only\[1\]: durations=\[\] must be distinct"),
        ({"durations": (64,)}, r"only\[1\]: durations=\[64\] must be .* \[1280, 2560\]"),
    ],
)
def test_parts_that_are_not_of_the_star_are_refused(changes, message):
    part = Part(**({"seeds": (0,), "durations": DURATIONS} | changes))
    with pytest.raises(ValueError, match=message):
        star(only=(part,))


def test_every_seed_is_a_trial_of_the_same_recipe():
    plan = Plan(name="seeds", sweep=star(seeds=(0, 3)))
    assert len(plan.trials) == 2 * 8
    assert len({trial.id for trial in plan.trials}) == 16
    assert {trial.recipe.seed for trial in plan.trials} == {0, 3}
    assert len({trial.recipe.id for trial in plan.trials}) == 1
    assert all(trial.durations == DURATIONS for trial in plan.trials)


def test_a_schedule_tied_to_its_end_gets_a_trial_for_each_duration():
    plan = Plan(name="cosine", sweep=star(recipe=dataclasses.replace(RECIPE, schedule="cosine")))
    assert len(plan.trials) == 2 * 8
    assert {trial.durations for trial in plan.trials} == {(DURATIONS[0],), (DURATIONS[1],)}
    assert len({trial.id for trial in plan.trials}) == 16


def test_kind_is_told_by_the_sweep():
    assert star_plan().kind == "star"
    assert Plan(name="g", sweep=grid()).kind == "grid"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms": {"widht": (8,)}},
            "arms: 'widht' is not a dimension; did you mean 'width'. choose from width, depth",
        ),
        ({"arms": {}}, "a star needs values for one dimension at least"),
        ({"arms": {"width": (12,)}}, r"arms.width: 12 is not divisible by head_dim=8; use 8 or 16"),
        ({"arms": {"width": (4,)}}, r"arms.width: 4 is not divisible by head_dim=8; use 8$"),
        (
            {"arms": {"width": (8,)}, "head_dim": None},
            r"arms.width: 8 is not divisible by heads=6; use 6 or 12",
        ),
        ({"arms": {"depth": (0, 1)}}, "arms.depth: 0 is not a size"),
        ({"arms": {"depth": (1.5,)}}, "arms.depth: 1.5 is not a size"),
        ({"arms": {"depth": (2, 1)}}, r"arms.depth=\[2, 1\] must be distinct and ascending"),
        ({"arms": {"depth": (2, 4)}}, "arms.depth: 4 is the centre itself"),
        ({"head_dim": 16}, "center: heads=6 contradicts head_dim=16 at width 48; use heads=3"),
        ({"head_dim": 32}, "center.width: 48 is not divisible by head_dim=32; use 32 or 64"),
        ({"seeds": ()}, r"seeds=\[\] must be distinct"),
        ({"seeds": (1, 1)}, r"seeds=\[1, 1\] must be distinct"),
        ({"durations": ()}, r"durations=\[\] must be distinct"),
        ({"durations": (100,)}, "100 examples is not a multiple of batch_size=64; use 576"),
        ({"durations": (64,)}, "inside the warmup of 5 steps"),
        ({"center": dataclasses.replace(CENTER, patch=32)}, "image_size=16 is smaller than patch"),
    ],
)
def test_an_impossible_star_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        Plan(name="refused", sweep=star(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 4}, "a grid needs exactly one of them"),
        ({"head_dim": None}, "a grid needs exactly one of them"),
        ({"widths": (8, 20)}, "width: 20 is not divisible by head_dim=8; use 16 or 24"),
        ({"mlp_dims": ()}, r"mlp_dim=\[\] must be distinct"),
        ({"depths": (-1,)}, "depth: -1 is not a size"),
        ({"patch": 0}, "patch=0 is not a size"),
    ],
)
def test_an_impossible_grid_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        Plan(name="refused", sweep=grid(**changes))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "UPPER", "-x", "a" * 65, "a\n"])
def test_a_name_that_cannot_name_a_file_is_refused(name):
    with pytest.raises(ValueError, match="cannot name files"):
        Plan(name=name, sweep=star())


def test_a_shape_of_another_star_has_no_arm():
    with pytest.raises(ValueError, match="is not part of this star"):
        star().dimension_of(Shape(width=8, depth=1, mlp_dim=16, heads=1, patch=4))

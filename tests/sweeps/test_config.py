"""Sweep files: what is written is read back, and what is wrong is refused by name."""

import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_samples import RECIPE

from vitscale.scaling.recipe import Loss, Optimizer, Precision, Recipe, Schedule
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Readout, Shape
from vitscale.sweeps.config import plan_from_toml, plan_to_toml, read_plan
from vitscale.sweeps.plan import GridSweep, Part, Plan, StarSweep
from vitscale.sweeps.presets import preset

STAR = """
[sweep]
name = "mine"
kind = "star"
durations_examples = [64_000_000, 256_000_000]

[center]
width = 1968
depth = 40
mlp_dim = 6144
heads = 16
patch = 14

[arms]
width = [608, 768]
depth = [8, 10]

[recipe]
base = "sovit"
learning_rate = 1e-3
"""

GRID = """
[sweep]
name = "mine"
kind = "grid"
durations_examples = [512_000_000]
seeds = [0, 1]

[grid]
width = [416, 512]
depth = [6, 8]
mlp_dim = [768]
heads = 16
patch = 14

[recipe]
base = "sovit"
"""


def choice(literal):
    return st.sampled_from(get_args(literal))


recipes = st.builds(
    Recipe,
    data=st.text(min_size=1, max_size=8),
    image_size=st.just(16),
    batch_size=st.just(4),
    readout=choice(Readout),
    loss=choice(Loss),
    optimizer=choice(Optimizer),
    learning_rate=st.floats(1e-300, 1e3),
    schedule=choice(Schedule),
    warmup_steps=st.integers(0, 2),
    cooldown_steps=st.integers(0, 10**15),
    cooldown_max_fraction=st.floats(0, 0.5),
    body_weight_decay=st.integers(0, 1) | st.floats(0, 1),
    lr_width_exponent=st.integers(-4, 4) | st.floats(-4, 4),
    momentum_dtype=choice(Precision),
)


def ascending(elements, most=4):
    return st.lists(elements, min_size=1, max_size=most, unique=True).map(
        lambda values: tuple(sorted(values))
    )


durations = ascending(st.integers(4, 10**6).map(lambda steps: 4 * steps))
seeds = ascending(st.integers(0, 2**31 - 1), most=3)


@st.composite
def stars(draw) -> StarSweep:
    head_dim = draw(st.none() | st.integers(1, 9))
    heads = draw(st.integers(1, 8))
    unit = heads if head_dim is None else head_dim
    # Arms stay under 100 units and blocks, so the centre is in none of them.
    width = unit * draw(st.integers(100, 200)) * (1 if head_dim is None else heads)
    center = Shape(
        width=width,
        depth=draw(st.integers(100, 200)),
        mlp_dim=draw(st.integers(100, 200)),
        heads=heads if head_dim is None else width // head_dim,
        patch=draw(st.integers(1, 16)),
    )
    sizes = st.integers(1, 99)
    arms = {
        "width": draw(ascending(sizes.map(lambda n: n * unit))),
        "depth": draw(st.just(()) | ascending(sizes)),
        "mlp_dim": draw(st.just(()) | ascending(sizes)),
    }
    star = StarSweep(
        center=center,
        arms=arms,
        recipe=draw(recipes),
        durations=draw(durations),
        seeds=draw(seeds),
        head_dim=head_dim,
    )
    return dataclasses.replace(star, only=tuple(draw(st.lists(parts(star), max_size=3))))


@st.composite
def parts(draw, star: StarSweep) -> Part:
    arm = draw(st.none() | st.sampled_from(sorted(star.arms)))
    return Part(
        dimension=arm,
        size=None if arm is None else draw(st.sampled_from(star.arms[arm])),
        seeds=draw(ascending(st.sampled_from(star.seeds))),
        durations=draw(ascending(st.sampled_from(star.durations))),
    )


@st.composite
def grids(draw) -> GridSweep:
    unit = draw(st.integers(1, 9))
    rule = draw(st.sampled_from(["heads", "head_dim"]))
    sizes = st.integers(1, 999)
    return GridSweep(
        widths=draw(ascending(sizes.map(lambda n: n * unit))),
        depths=draw(ascending(sizes)),
        mlp_dims=draw(ascending(sizes)),
        patch=draw(st.integers(1, 16)),
        recipe=draw(recipes),
        durations=draw(durations),
        seeds=draw(seeds),
        **{rule: unit},
    )


@given(name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True), sweep=stars() | grids())
def test_every_plan_is_read_back_as_it_was_written(name, sweep):
    plan = Plan(name=name, sweep=sweep)
    again = plan_from_toml(plan_to_toml(plan))
    assert again == plan
    assert [trial.id for trial in again.trials] == [trial.id for trial in plan.trials]


def test_a_star_file_is_the_star_it_describes():
    plan = plan_from_toml(STAR)
    published = preset("sovit-star").sweep
    assert isinstance(plan.sweep, StarSweep) and isinstance(published, StarSweep)
    assert plan.sweep.center == published.center
    assert plan.sweep.arms == {"width": (608, 768), "depth": (8, 10)}
    assert plan.sweep.recipe == dataclasses.replace(RECIPES["sovit"], learning_rate=1e-3)
    assert plan.sweep.durations == (64_000_000, 256_000_000)
    assert plan.sweep.seeds == (0,)


def test_head_dim_in_the_centre_is_the_rule_of_the_width_arm():
    plan = plan_from_toml(STAR.replace("heads = 16", "head_dim = 16"))
    assert [t.shape.heads for t in plan.trials[:3]] == [123, 38, 48]


def test_a_grid_file_is_the_grid_it_describes():
    plan = plan_from_toml(GRID)
    assert plan.kind == "grid" and len(plan.trials) == 2 * 2 * 1 * 2


REFUSALS = [
    ("kind = ", "kinds = ", r"\[sweep\] has no key 'kinds'; did you mean 'kind'\?"),
    ('"star"', '"sta"', r"\[sweep\].kind='sta' is not one of 'star', 'grid'"),
    ('name = "mine"\n', "", r"\[sweep\] lacks the key 'name', a string"),
    ('name = "mine"', "name = 3", r"\[sweep\].name=3 is not a string"),
    ("[arms]", "[arm]", r"the file of a star sweep has no key 'arm'; did you mean 'arms'\?"),
    ("[center]", "[grid]", r"the file of a star sweep has no key 'grid'"),
    ("width = [608, 768]", "widht = [608]", r"\[arms\] has no key 'widht'; did you mean 'width'"),
    ("width = [608, 768]", "width = 608", r"\[arms\].width=608 is not a list, each item a whole"),
    ("[608, 768]", '[608, "768"]', r"\[arms\].width\[1\]='768' is not a whole number"),
    ("[608, 768]", "[608.0]", r"\[arms\].width\[0\]=608.0 is not a whole number; write 608"),
    ("[608, 768]", "[600]", r"arms.width: 600 is not divisible by heads=16; use 592 or 608"),
    ("[608, 768]", "[true]", r"\[arms\].width\[0\]=True is not a whole number"),
    ("depth = 40", "depth = 0", r"\[center\]: depth=0 is not a size"),
    ("heads = 16\n", "", r"center.* give heads or head_dim"),
    ("learning_rate = 1e-3", 'learning_rate = "fast"', r"learning_rate='fast' is not a number"),
    ("learning_rate", "learning_rat", r"\[recipe\] has no key 'learning_rat'; did you mean 'lea"),
    ("learning_rate = 1e-3", 'optimizer = "adam"', r"optimizer='adam' is not one of 'adamw', 'ada"),
    ("learning_rate = 1e-3", "learning_rate = -1", r"learning_rate=-1.0 is not a number from 0"),
    ("learning_rate = 1e-3", "learning_rate = nan", r"learning_rate=nan is not a number from 0"),
    ('base = "sovit"', 'base = "sovot"', r"base='sovot' is no named recipe; did you mean 'sovit'"),
    ('base = "sovit"\n', "", r"\[recipe\] lacks the key 'data', a string"),
    (
        "[64_000_000, 256_000_000]",
        "[64_000_001]",
        r"not a multiple of batch_size=128; use 64000000",
    ),
    (
        "durations_examples = [64_000_000, 256_000_000]",
        "durations_steps = [500_000, 2_000_000]",
        r"these steps of batch_size=128 are durations_examples = \[64000000, 256000000\]",
    ),
    (
        "durations_examples",
        "durations",
        r"\[sweep\] has no key 'durations': lengths are numbers of examples \(images seen\)",
    ),
    ("durations_examples", "durations_epochs", r"has no key 'durations_epochs': lengths are"),
    ("[sweep]", "[[sweep]]", r"lacks the table \[sweep\]"),
    ("[sweep]", "", r"lacks the table \[sweep\]"),
    ("[arms]", "only = 3\n[arms]", r"\[center\] has no key 'only'"),
    ("[sweep]", "only = [3]\n[sweep]", r"only must be written as tables \[\[only\]\]"),
    ("[arms]", "[[only]]\n[arms]", r"only\[1\] lacks the key 'durations_examples'"),
    ("[arms]", "[[only]]\nsizes = 8\n[arms]", r"only\[1\] has no key 'sizes'; did you mean 'size'"),
    ("[arms]", "[arms", r"not valid TOML: .*line 14"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS)
def test_a_wrong_file_is_refused_by_name(old, new, message):
    assert old in STAR
    with pytest.raises(ValueError, match=message):
        plan_from_toml(STAR.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("heads = 16\n", "", "a grid needs exactly one of them"),
        ("[grid]", "[arms]", r"the file of a grid sweep has no key 'arms'"),
        ("seeds = [0, 1]", "seeds = [1, 0]", r"seeds=\[1, 0\] must be distinct and ascending"),
        ("mlp_dim = [768]", "mlp = [768]", r"\[grid\] has no key 'mlp'; did you mean 'mlp_dim'"),
        ("mlp_dim = [768]\n", "", r"\[grid\] lacks the key 'mlp_dim', a list, each item a whole"),
    ],
)
def test_a_wrong_grid_file_is_refused_by_name(old, new, message):
    assert old in GRID
    with pytest.raises(ValueError, match=message):
        plan_from_toml(GRID.replace(old, new, 1))


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(STAR)
    assert read_plan(path) == plan_from_toml(STAR)
    path.write_text(STAR.replace("kind", "kid", 1))
    with pytest.raises(ValueError, match=r"mine.toml: \[sweep\] has no key 'kid'"):
        read_plan(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"mine.toml: .*codec"):
        read_plan(path)
    with pytest.raises(FileNotFoundError):
        read_plan(tmp_path / "none.toml")


def test_the_recipe_of_a_file_is_written_in_full():
    text = plan_to_toml(preset("sovit-star"))
    assert "base" not in text
    for field in dataclasses.fields(RECIPE):
        assert f"\n{field.name} = " in text

"""Warnings: each fires for its reason, and a good design has none."""

import re
from typing import Any

import pytest
from sweep_samples import RECIPE

from vitscale.scaling.shape import Shape
from vitscale.sweeps.identifiability import design_warnings
from vitscale.sweeps.plan import GridSweep, StarSweep
from vitscale.sweeps.presets import preset

GOOD = {
    "center": Shape(width=96, depth=12, mlp_dim=384, heads=12, patch=4),
    "arms": {"width": (8, 16, 32, 64), "depth": (1, 2, 4, 8), "mlp_dim": (16, 32, 64, 192)},
    "recipe": RECIPE,
    "durations": (64 * 50, 64 * 100, 64 * 400),
    "head_dim": 8,
}


def star(**changes) -> StarSweep:
    return StarSweep(**(GOOD | changes))


def arms(**changes) -> dict:
    return GOOD["arms"] | changes


def test_a_good_star_has_no_warning():
    assert design_warnings(star()) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"durations": (6400, 25600)}, "durations: 2 of them cannot separate"),
        ({"durations": (6400, 12800, 19200)}, "the longest is only 3 times the shortest; use 4"),
        ({"arms": {k: GOOD["arms"][k] for k in ("width", "depth")}}, "mlp_dim: the star has no"),
        ({"arms": arms(depth=(1, 2, 4))}, "depth: 3 values beside the centre are too few"),
        (
            {"arms": arms(width=(32, 40, 48, 64))},
            "width: the largest size, centre included, is only 3 times the smallest; use 4",
        ),
        ({"arms": arms(depth=(1, 2, 4, 11))}, r"depth: the centre \(12\) is only 1.09 times"),
    ],
)
def test_each_weakness_is_named(changes, message):
    (warning,) = design_warnings(star(**changes))
    assert re.search(message, warning)


def test_values_must_straddle_the_pilots_optimum():
    # The least compute of the width arm: width 8 for 3,200 examples; the most: the centre, 25,600.
    sweep = star()
    least, most = (
        3.0 * shape.forward_flops(image_size=16, channels=1) * examples
        for shape, examples in ((sweep.shapes()[1], 3200), (sweep.center, 25600))
    )

    def flat(at_least: float, at_most: float) -> tuple[str, ...]:
        sizes = {least: at_least, most: at_most}
        return design_warnings(sweep, {"width": lambda flops: sizes[flops]})

    assert flat(16, 48) == ()
    (warning,) = flat(15, 48)
    assert "the smallest size is 8, but the optimum of the cheapest run is about 15" in warning
    (warning,) = flat(16, 49)
    assert "the largest size is 96, but the optimum of the dearest run is about 49" in warning


def test_the_published_mlp_arm_misses_the_optimum_of_its_short_runs():
    # x*(t) of the published 10-shot fit of the MLP dimension: 1185.5 at 1e11 forward GFLOPs,
    # s = 11/19. Its arm begins at 1088; the short runs are best at 560 to 670.
    def optimum(flops: float) -> float:
        return 1185.4545 * (flops / 3e9 / 1e11) ** (11 / 19)

    warnings = design_warnings(preset("sovit-star").sweep, {"mlp_dim": optimum})
    assert any(
        "mlp_dim: the smallest size is 1088, but the optimum of the cheapest run is about 559; "
        "add sizes down to 280" in warning
        for warning in warnings
    )


def test_a_pilot_of_no_dimension_is_refused():
    with pytest.raises(ValueError, match="optima: 'heads' is not a dimension"):
        design_warnings(star(), {"heads": lambda t: 1.0})


def test_a_grid_needs_an_inside_and_small_steps():
    def grid(**changes):
        values: dict[str, Any] = {"widths": (16, 24, 32), "depths": (2, 3, 4)}
        values |= {
            "mlp_dims": (32, 40, 48),
            "patch": 4,
            "recipe": RECIPE,
            "durations": (6400,),
            "head_dim": 8,
        }
        return design_warnings(GridSweep(**(values | changes)))

    assert grid() == ()
    assert design_warnings(preset("sovit-grid").sweep) == ()
    (warning,) = grid(depths=(2, 3))
    assert "depth: with 2 values no optimum can lie strictly inside" in warning
    (warning,) = grid(mlp_dims=(16, 32, 48))
    assert "mlp_dim: neighbouring values differ by a factor 2, too coarse" in warning

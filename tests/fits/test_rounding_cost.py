"""What rounding costs, against eq. (2) minimised by brute force, and the multiples of accelerators."""

import dataclasses
import itertools
import json
import math
import re

import numpy as np
import pytest
import star_samples as stars

from vitscale.cli import run
from vitscale.fits.answer import Setting, answer
from vitscale.fits.fit_file import FitFile, write_json
from vitscale.fits.hardware import HARDWARE, hardware_named
from vitscale.fits.rule import SOVIT_X0, published_rule, rule_from_fit
from vitscale.fits.shape_law import fit_star
from vitscale.scaling.shape import DIMENSIONS, Shape

BUDGETS = np.geomspace(3e19, 3e22, 13)


@pytest.fixture(scope="module")
def fit():
    return fit_star(stars.published_table(), resamples=0)


def equation_2(law, x, t):
    """Eq. (2) of Getting ViT in Shape, written again."""
    return law.alpha * x**-law.a + (law.beta * x**law.b + law.xi) * t**-law.c + law.eps


def excess(fit, flops: float, sizes: dict[str, float], shape: Shape) -> float:
    """The sum over dimensions, with each optimum found on two grids, the second finer."""
    t = flops / 3e9  # forward GFLOPs
    total = 0.0
    for name in DIMENSIONS:
        law = fit.dimensions[name].law
        x = np.geomspace(1, 1e5, 10_001)
        best = x[np.argmin(equation_2(law, x, t))]
        x = np.geomspace(best / 1.01, best * 1.01, 20_001)
        optimum = x[np.argmin(equation_2(law, x, t))]
        moved = optimum * getattr(shape, name) / sizes[name]
        total += equation_2(law, moved, t) - equation_2(law, optimum, t)
    return total


def neighbours(shape: Shape, step: int, mlp_step: int, head_dim: int):
    """All shapes up to two multiples away."""
    steps = (step, 1, mlp_step)
    ranges = [
        [getattr(shape, name) + k * by for k in range(-2, 3) if getattr(shape, name) + k * by > 0]
        for name, by in zip(DIMENSIONS, steps, strict=True)
    ]
    for width, depth, mlp_dim in itertools.product(*ranges):
        heads = width // head_dim
        yield Shape(width=width, depth=depth, mlp_dim=mlp_dim, heads=heads, patch=shape.patch)


@pytest.mark.parametrize("name", ["a100", "h100", "tpu-v5e", "tpu-v6e"])
def test_hardware_gets_the_neighbour_that_costs_least(fit, name):
    hardware = HARDWARE[name]
    assert hardware.head_dim is not None
    setting = Setting(
        head_dim=hardware.head_dim,
        width_multiple=hardware.width_multiple,
        mlp_multiple=hardware.mlp_multiple,
    )
    rule = rule_from_fit(fit, SOVIT_X0)
    for flops in BUDGETS[::4]:
        found = answer(rule, flops, setting, fit=fit, round_by_law=True)
        sizes = {name: size.estimate for name, size in found.sizes.items()}
        shape, cost = found.shape, found.rounding.total
        assert cost is not None
        assert cost.estimate == pytest.approx(excess(fit, flops, sizes, shape), rel=1e-4, abs=1e-8)
        multiples = hardware.width_multiple, hardware.mlp_multiple, hardware.head_dim
        least = min(excess(fit, flops, sizes, other) for other in neighbours(shape, *multiples))
        assert cost.estimate <= least * (1 + 1e-4) + 1e-8
        assert shape.width % hardware.width_multiple == 0
        assert shape.mlp_dim % hardware.mlp_multiple == 0
        assert shape.head_dim == hardware.head_dim


@pytest.mark.parametrize("flops", BUDGETS)
def test_the_ends_are_those_of_an_optimum_anywhere_in_its_interval(fit, flops):
    found = answer(
        rule_from_fit(fit, SOVIT_X0), flops, Setting(head_dim=64, width_multiple=128), fit=fit
    )
    for name in DIMENSIONS:
        law, size, part = fit.dimensions[name].law, found.sizes[name], found.rounding.excess[name]
        optimum = float(law.optimal_x(flops / 3e9))
        # The true optimum is `optimum`; the rule may have been off it by any factor of its interval.
        off = size.estimate / np.geomspace(size.low, size.high, 2001)
        moved = getattr(found.shape, name) / size.estimate
        costs = equation_2(law, moved * off * optimum, flops / 3e9) - equation_2(
            law, off * optimum, flops / 3e9
        )
        assert part.low is not None and part.high is not None
        assert (part.low, part.high) == pytest.approx(
            (costs.min(), costs.max()), rel=1e-6, abs=1e-15
        )
        assert part.low <= part.estimate <= part.high and part.estimate >= 0
    lows = [part.low for part in found.rounding.excess.values() if part.low is not None]
    total = found.rounding.total
    assert total is not None and total.low == pytest.approx(sum(lows))


def test_sizes_that_are_not_moved_cost_nothing(fit):
    rule = rule_from_fit(fit, SOVIT_X0)
    exact = dataclasses.replace(
        rule.start,
        sizes={
            name: dataclasses.replace(size, estimate=value)
            for (name, size), value in zip(rule.start.sizes.items(), (640, 10, 960), strict=True)
        },
    )
    rule = dataclasses.replace(rule, start=exact)
    found = answer(rule, exact.t0 * 3e9, Setting(head_dim=64), fit=fit)
    assert found.rounding.moves == dict.fromkeys(DIMENSIONS, pytest.approx(1))
    assert found.rounding.total is not None
    assert found.rounding.total.estimate == pytest.approx(0, abs=1e-12)
    assert found.rounding.forward == pytest.approx(1)


def test_the_work_for_an_image_is_that_of_its_blocks(fit):
    found = answer(published_rule("sovit-figure1"), 1e21, Setting(heads=16, width_multiple=256))
    sizes = [found.sizes[name].estimate for name in DIMENSIONS]
    rounded = [getattr(found.shape, name) for name in DIMENSIONS]

    def work(width, depth, mlp_dim):
        # Multiply-adds of one block, Getting ViT in Shape's model: 256 tokens at 224 pixels.
        return depth * (4 * 256 * width**2 + 2 * 256**2 * width + 2 * 256 * width * mlp_dim)

    assert found.rounding.forward == pytest.approx(work(*rounded) / work(*sizes))


def test_without_laws_the_moves_are_told_and_the_cost_is_not(fit):
    found = answer(published_rule("sovit-figure1"), 1e21, Setting(heads=16), round_by_law=True)
    assert found.rounding.total is None and found.to_dict()["rounding"]["excess_error"] is None
    text = "\n".join(found.lines())
    assert "what that costs is not known: the rule is published as exponents alone" in text
    assert re.search(r"rounding moves width [+-]\d\.\d%, depth [+-]\d\.\d%, mlp_dim [+-]", text)
    rising = dataclasses.replace(fit.dimensions["depth"].law, alpha=0.0)
    flat = dataclasses.replace(fit.dimensions["depth"], law=rising)
    without = dataclasses.replace(fit, dimensions=fit.dimensions | {"depth": flat})
    found = answer(published_rule("sovit-figure1"), 1e21, Setting(heads=16), fit=without)
    assert "not known: the fit has no optimum in depth" in "\n".join(found.lines())


def test_open_intervals_leave_the_cost_without_one(fit):
    found = answer(published_rule("sovit-figure1"), 1e21, Setting(heads=16), fit=fit)
    total = found.rounding.total
    assert total is not None and total.low is None and total.high is None and total.estimate > 0
    assert "(interval unknown)" in found.rounding.lines()[1]


@pytest.mark.parametrize("name", HARDWARE)
def test_the_command_rounds_to_the_hardware(capsys, tmp_path, fit, name):
    path = tmp_path / "fit.json"
    write_json(path, FitFile(fit=fit, start=SOVIT_X0, setting=Setting(heads=16)).to_dict())
    assert run(["shape", "--fit", str(path), "--flops", "1e21", "--hardware", name, "--json"]) == 0
    found, hardware = json.loads(capsys.readouterr().out), hardware_named(name)
    shape = Shape(**found["shape"])
    step = math.lcm(hardware.width_multiple, hardware.head_dim or 16)
    assert shape.width % step == 0 and shape.mlp_dim % hardware.mlp_multiple == 0
    assert shape.head_dim == (hardware.head_dim or shape.width // 16)
    assert found["rounding"]["excess_error"]["estimate"] > 0
    assert found["rounding"]["metric"] == fit.metric and found["hardware"] == name
    assert run(["shape", "--fit", str(path), "--flops", "1e21", "--hardware", name]) == 0
    text = capsys.readouterr().out
    assert f"rounded for {name}: width a multiple of {hardware.width_multiple}" in text
    assert f"of {fit.metric} at the same compute by eq. (2) (95% [" in text


def test_flags_change_single_multiples(capsys):
    flags = ["--hardware", "tpu-v6e", "--mlp-multiple", "512", "--head-dim", "64", "--json"]
    assert run(["shape", "--flops", "1e21", *flags]) == 0
    shape = json.loads(capsys.readouterr().out)["shape"]
    assert shape["mlp_dim"] % 512 == 0 and shape["width"] % 256 == 0
    assert shape["width"] // shape["heads"] == 64


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("H100", "did you mean 'h100'?"),
        ("tpu", "did you mean 'tpu-v4'?"),
        ("abacus", "known: cpu, "),
    ],
)
def test_unknown_hardware_is_refused(capsys, name, message):
    assert run(["shape", "--flops", "1e21", "--hardware", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vitscale: unknown hardware {name!r}; ") and message in said

"""Choosing what to measure: against all subsets, and what may be chosen from."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from star_samples import published_table

from vitscale.fits.design.candidates import Option, duration_sets, more_durations, sizes_to_try
from vitscale.fits.design.compute_model import table_space
from vitscale.fits.design.design import MOST_COPIES, Problem, cheapest_useful, choose
from vitscale.fits.design.networks import networks_of
from vitscale.scaling.shape import Shape


def random_problem(seed: int, count: int = 9) -> Problem:
    """Options of random cost and information in one dimension or the other; the last in both."""
    rng = np.random.default_rng(seed)

    def information(scale: float) -> np.ndarray:
        roots = scale * rng.standard_normal((3, 7, 3))
        return roots @ roots.swapaxes(-1, -2)

    options = tuple(
        Option(
            kind="size" if k % 2 else "repeat",
            dimension=None if k == count - 1 else ("width", "depth")[k % 2],
            size=k + 1,
            network=None,
            durations=(1.0,),
            flops=float(rng.uniform(1, 5)),
        )
        for k in range(count)
    )
    index = {
        name: np.array([k for k, o in enumerate(options) if o.dimension in (name, None)])
        for name in ("width", "depth")
    }
    return Problem(
        options=options,
        known={name: information(1.0) + np.eye(7) for name in index},
        gradient={name: rng.standard_normal((3, 7)) for name in index},
        index=index,
        added={name: np.array([information(2.0) for _ in own]) for name, own in index.items()},
    )


def criterion(problem: Problem, chosen) -> float:
    """Written anew: the sum over dimensions of the mean root of g' M^-1 g."""
    total = 0.0
    for name, gradient in problem.gradient.items():
        information = problem.known[name].copy()
        for option in chosen:
            for row in np.flatnonzero(problem.index[name] == option):
                information += problem.added[name][row]
        variance = [g @ np.linalg.inv(m) @ g for m, g in zip(information, gradient, strict=True)]
        total += float(np.sqrt(variance).mean())
    return total


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [4.0, 9.0])
def test_the_choice_is_nearly_the_best_of_all_subsets(seed, budget):
    problem = random_problem(seed)
    every = range(len(problem.options))
    subsets = itertools.chain.from_iterable(itertools.combinations(every, n) for n in range(6))
    best = min(
        criterion(problem, subset)
        for subset in subsets
        if problem.flops[list(subset)].sum() <= budget
    )
    chosen = choose(problem, budget)
    assert problem.flops[chosen].sum() <= budget
    nothing, found = criterion(problem, []), criterion(problem, chosen)
    assert (nothing - found) >= 0.93 * (nothing - best)
    assert sum(problem.spreads(chosen).values()) == pytest.approx(found)


def test_a_choice_is_of_the_kinds_that_are_asked_for():
    problem = random_problem(1)
    chosen = choose(problem, 12.0, ("size",))
    assert chosen and {problem.options[i].kind for i in chosen} == {"size"}
    assert choose(problem, 12.0, ("centre",)) == []


def test_no_size_is_copied_without_end():
    problem = random_problem(2)
    same = tuple(dataclasses.replace(o, dimension="width", size=1) for o in problem.options)
    chosen = choose(dataclasses.replace(problem, options=same), 1e9)
    assert len(chosen) == MOST_COPIES


def test_the_cheapest_useful_option_is_what_a_budget_has_to_pay():
    problem = random_problem(3)
    least = cheapest_useful(problem)
    assert least is not None and least >= problem.flops.min()
    assert choose(problem, 0.99 * problem.flops.min()) == []
    assert choose(problem, 1.01 * least)


@settings(deadline=None)
@given(
    measured=st.lists(st.integers(1, 400), min_size=3, max_size=7, unique=True),
    multiple=st.sampled_from([1, 4, 16]),
    margin=st.sampled_from([None, 1.05, 1.5, 4.0]),
    optima=st.tuples(st.floats(1e-3, 1e5), st.floats(1e-3, 1e5)),
)
def test_new_sizes_are_sizes(measured, multiple, margin, optima):
    sizes = sorted(size * multiple for size in measured)
    center = None if margin is None else int(np.ceil(sizes[-1] * margin / multiple)) * multiple
    if center in sizes:
        center = None
    found = sizes_to_try(sizes, multiple=multiple, center=center, optima=optima)
    assert list(found) == sorted(set(found))
    for size in found:
        assert size >= 1 and size % multiple == 0 and size >= sizes[0] / 4
        assert all(abs(np.log(size / other)) > np.log(1.08) for other in sizes)
        if center is not None and optima[1] <= center / 1.15:
            assert size <= center / 1.15


def test_new_sizes_straddle_the_optimum():
    # The MLP arm of the published star: x* is about 600 for its shortest runs, its sizes from 1088.
    arm = (1088, 1360, 1728, 2160, 2592, 3072)
    found = sizes_to_try(arm, multiple=16, center=6144, optima=(600, 2000))
    assert found[0] == pytest.approx(300, abs=16) and found[-1] < 6144
    assert any(3072 < size for size in found)
    # An optimum beyond the centre: the sizes go there too.
    assert max(sizes_to_try(arm, multiple=16, center=6144, optima=(600, 9000))) > 6144


def test_durations_fill_gaps_and_go_beyond():
    assert more_durations((64, 256, 512), multiple=8) == (64, 128, 256, 360, 512, 1024)
    assert more_durations((1.0, 4.0)) == (1.0, 2.0, 4.0, 8.0)
    assert more_durations((100, 150), multiple=10) == (100, 150, 300)
    sets = duration_sets((64, 256), (64, 128, 256, 512))
    assert (64,) in sets and (64, 256) in sets and (64, 128, 256, 512) in sets
    assert all(64 in chosen for chosen in sets)


def test_a_table_without_shapes_is_priced_by_its_compute():
    table = published_table()
    space = table_space(table)
    assert space.center == {"width": 1968, "depth": 40, "mlp_dim": 6144}
    assert space.measured == pytest.approx((1, 4, 8), rel=1e-6)
    for dimension, size in (("width", 320), ("depth", 4), ("mlp_dim", 272), ("mlp_dim", 4608)):
        sizes = {"width": 1968, "depth": 40, "mlp_dim": 6144, dimension: size}
        shape = Shape(**sizes, heads=16, patch=14)
        exact = shape.forward_flops(image_size=224) / 1e9 * 64e6
        assert space.compute(dimension, size, 1.0) == pytest.approx(exact, rel=0.01)
        # 3 FLOPs a forward one; a tenth of each duration is its own cooldown.
        spent = 0.9 * 4 + 0.1 * (1 + 4)
        assert space.flops(dimension, size, (1.0, 4.0)) == pytest.approx(3e9 * exact * spent, 0.01)


def test_a_network_of_the_centre_is_one_under_every_dimension():
    networks = networks_of(published_table())
    centers = [network for network in networks if network.is_center]
    assert len(centers) == 3 and len({network.model for network in centers}) == 1
    assert len(networks) == 21


def test_tables_that_cannot_be_priced_are_refused():
    table = published_table()
    unknown = table.copy()
    unknown.attrs = table.attrs | {"flops_per_unit": None}
    with pytest.raises(ValueError, match=r"is not known in FLOPs.*flops_per_unit"):
        table_space(unknown)
    uneven = table.copy()
    uneven.loc[1, "compute"] *= 1.3
    with pytest.raises(ValueError, match="no durations in common; give a store"):
        table_space(uneven)
    halves = table.assign(x=table["x"] + 0.5)
    with pytest.raises(ValueError, match=r"x=608.5 is not a whole number"):
        table_space(halves)

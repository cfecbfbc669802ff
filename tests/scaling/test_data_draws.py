"""Random numbers by place, and the order of examples that comes of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vitscale.scaling.data.draws import hashed, uniforms
from vitscale.scaling.data.order import Order, examples_at

_MASK = 2**64 - 1


def splitmix64(state: int) -> int:
    """One output, as the published C code gives it for a generator in `state`."""
    z = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def test_the_hash_of_nought_is_the_first_number_of_splitmix64():
    # Seed 0 gives 0xe220a8397b1dcdaf first: the value that implementations are checked by.
    assert int(hashed(0)[0]) == splitmix64(0) == 0xE220A8397B1DCDAF


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_coordinates_are_hashed_one_after_the_other(coordinates):
    state = 0
    for coordinate in coordinates:
        state = splitmix64((state + coordinate * 0x9E3779B97F4A7C15) & _MASK)
    assert int(hashed(*coordinates)[0]) == state


def test_draws_of_one_example_are_those_of_many():
    many = uniforms(3, np.arange(100, 140), 5, 7)
    for row, example in enumerate(range(100, 140)):
        np.testing.assert_array_equal(uniforms(3, np.array([example]), 5, 7)[0], many[row])
    np.testing.assert_array_equal(uniforms(3, np.arange(100, 140), 8, 2), many[:, 3:5])


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_draws_are_uniform_and_independent(seed):
    draws = uniforms(seed, np.arange(20_000), 0, 6)
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-5
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-5
    others = [draws[1:, 0], uniforms(seed + 1, np.arange(20_000), 0, 1)[1:, 0]]
    correlation = np.corrcoef([*draws[:-1].T, *others])
    # Of 28 correlations with standard deviation 1/sqrt(20,000), none beyond five of them.
    assert np.abs(correlation[~np.eye(8, dtype=bool)]).max() < 5 / np.sqrt(20_000)
    cells, _, _ = np.histogram2d(draws[:, 0], draws[:, 1], bins=10)
    assert stats.chisquare(cells.ravel()).pvalue > 1e-4


@given(st.integers(0, 2**31 - 1), st.integers(1, 300), st.integers(0, 1000))
def test_each_epoch_has_every_example_once(seed, examples, epoch):
    places = np.arange(epoch * examples, (epoch + 1) * examples)
    assert sorted(examples_at(seed, places, examples)) == list(range(examples))


def test_any_part_of_the_order_is_that_part_of_the_whole():
    whole = examples_at(5, np.arange(1000), 300)
    np.testing.assert_array_equal(examples_at(5, np.arange(290, 650), 300), whole[290:650])


def test_orders_differ_between_epochs_and_seeds_and_depend_on_neither_by_chance():
    first, second = examples_at(0, np.arange(400), 200).reshape(2, 200)
    other = examples_at(1, np.arange(200), 200)
    for a, b in ((first, second), (first, other), (first, np.arange(200))):
        assert abs(np.asarray(stats.spearmanr(a, b))[0]) < 0.3


def test_threads_that_share_an_order_compute_each_epoch_once(monkeypatch):
    computed = []

    def counted(*coordinates):
        computed.append(coordinates[1:3])
        return hashed(*coordinates)

    monkeypatch.setattr("vitscale.scaling.data.order.hashed", counted)
    orders = [Order(seed, 100) for seed in range(4)]
    batches = [np.arange(start, start + 30) for start in range(0, 600, 30)]
    with ThreadPoolExecutor(4) as threads:
        for batch in batches:
            # All streams in turns, as trials that train together read them.
            read = [threads.submit(order.at, batch) for _ in range(3) for order in orders]
            got = [future.result() for future in read]
            assert all(np.array_equal(a, b) for a, b in zip(got[:4], got[4:8], strict=True))
    assert sorted(computed) == [(seed, epoch) for seed in range(4) for epoch in range(6)]


def test_the_order_is_pinned():
    # A change here changes what every stored run was trained on.
    assert examples_at(0, np.arange(10), 10).tolist() == [7, 1, 4, 5, 3, 2, 9, 6, 0, 8]

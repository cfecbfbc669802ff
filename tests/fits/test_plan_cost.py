"""Plan cost: bars, what is done, and totals against the table."""

import numpy as np
import pandas as pd
import pytest
from figure_words import check_words

from vitscale.fits import plots


@pytest.fixture
def costs():
    return pd.DataFrame(
        {
            "trial": ["small", "large", "middle"],
            "trunk_flops": [1e15, 6e15, 3e15],
            "cooldown_flops": [1e15, 3e15, 1e15],
            "remaining_flops": [0.0, 9e15, 1e15],
            "hours": [0.0, 4.5, 0.5],
        }
    )


def bars(axes):
    return np.array([(p.get_x(), p.get_width(), p.get_y()) for p in axes.patches])


def test_bars_are_trunk_and_cooldowns_the_dearest_first(costs):
    figure = plots.plan_cost_figure(costs, title="mine")
    check_words(figure)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["large", "middle", "small"]
    trunk, cooldown = bars(axes)[:3], bars(axes)[3:]
    np.testing.assert_allclose(trunk[:, :2], [[0, 6], [0, 3], [0, 1]])
    np.testing.assert_allclose(cooldown[:, :2], [[6, 3], [3, 1], [1, 1]])
    assert axes.get_xlabel() == "training compute ($10^{15}$ FLOPs)"


def test_what_is_done_and_left(costs):
    figure = plots.plan_cost_figure(costs, title="mine")
    (axes,) = figure.axes
    done = [float(np.asarray(line.get_xdata())[-1]) for line in axes.get_lines()]
    np.testing.assert_allclose(done, [3, 2])  # of middle and small; large is not begun
    assert [text.get_text() for text in axes.texts] == ["≈ 4.5 h", "≈ 30 min"]
    # 5e15 of 15e15 are done.
    assert figure.get_suptitle() == (
        "mine\n3 trials, $1.5\\times10^{16}$ training FLOPs\n33% done, ≈ 5 h of one worker left"
    )


def test_no_hours_and_nothing_done(costs):
    fresh = costs.drop(columns="hours").assign(
        remaining_flops=costs["trunk_flops"] + costs["cooldown_flops"]
    )
    figure = plots.plan_cost_figure(fresh)
    assert not figure.axes[0].texts and not figure.axes[0].get_lines()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["trunk", "cooldowns"]
    unknown = costs.assign(hours=[0.0, np.nan, 0.5])
    assert not plots.plan_cost_figure(unknown).axes[0].texts


def test_many_trials_lose_nothing():
    count = 80
    rng = np.random.default_rng(0)
    many = pd.DataFrame(
        {
            "trial": [f"trial {k}" for k in range(count)],
            "trunk_flops": rng.uniform(1, 5, count) * 1e12,
            "cooldown_flops": rng.uniform(1, 2, count) * 1e12,
            "remaining_flops": np.zeros(count),
        }
    )
    (axes,) = plots.plan_cost_figure(many).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 30 and names[-1] == "51 others"
    total = (many["trunk_flops"] + many["cooldown_flops"]).sum()
    power = float(axes.get_xlabel().split("{")[1].split("}")[0])
    assert bars(axes)[:, 1].sum() * 10**power == pytest.approx(total)


def test_refusals(costs):
    with pytest.raises(ValueError, match="the costs lack trunk_flops; give trial, trunk_flops"):
        plots.plan_cost_figure(costs.drop(columns="trunk_flops"))
    with pytest.raises(ValueError, match="the plan has no trial to draw"):
        plots.plan_cost_figure(costs.iloc[:0])

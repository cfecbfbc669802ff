"""The ridge probe against naive float64 solves, scikit-learn, and refits that leave one out."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from vitscale.scaling.evaluate.fewshot import draw_shots, fewshot_errors
from vitscale.scaling.evaluate.ridge import L2_GRID, PAPER_L2, RidgeProbe

CLASSES = 7


def features(n: int, d: int, seed: int = 0):
    """Correlated features with a power-law spectrum and an offset, as networks make them."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(CLASSES), n // CLASSES + 1)[:n]
    means = rng.normal(size=(CLASSES, d))
    mix = rng.normal(size=(d, d)) * np.arange(1, d + 1) ** -0.7
    x = (means[labels] + rng.normal(size=(n, d))) @ mix + 5
    return x.astype(np.float32), labels


def naive_scores(x, labels, test, l2, constant):
    """(X'X + l2 I)^-1 X'Y written out on standardised features with a constant one appended."""
    x, test = x.astype(np.float64), test.astype(np.float64)
    mean, scale = x.mean(0), x.std(0) + 1e-5
    rows = np.hstack([(x - mean) / scale, np.full((len(x), 1), constant)])
    targets = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
    weights = np.linalg.solve(rows.T @ rows + l2 * np.eye(rows.shape[1]), rows.T @ targets)
    return np.hstack([(test - mean) / scale, np.full((len(test), 1), constant)]) @ weights


@pytest.mark.parametrize("l2", [2.0**-10, 1.0, PAPER_L2])
@pytest.mark.parametrize(("n", "d"), [(300, 40), (35, 60)], ids=["primal", "dual"])
class TestSolve:
    def test_papers_form_equals_a_naive_solve(self, n, d, l2):
        x, labels = features(n, d)
        test, _ = features(100, d, seed=1)
        probe = RidgeProbe(x, labels, classes=CLASSES, constant_feature=100.0)
        expected = naive_scores(x, labels, test, l2, 100.0)
        np.testing.assert_allclose(probe.scores(test, l2), expected, rtol=1e-6, atol=1e-6)

    def test_centred_form_equals_scikit_learn(self, n, d, l2):
        x, labels = features(n, d)
        test, _ = features(100, d, seed=1)
        x64, test64 = x.astype(np.float64), test.astype(np.float64)
        mean, scale = x64.mean(0), x64.std(0) + 1e-5
        targets = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
        ridge = Ridge(alpha=l2, solver="cholesky").fit((x64 - mean) / scale, targets)
        scores = RidgeProbe(x, labels, classes=CLASSES).scores(test, l2)
        np.testing.assert_allclose(scores, ridge.predict((test64 - mean) / scale), atol=1e-6)


@pytest.mark.parametrize("constant", [None, 100.0], ids=["centred", "constant feature"])
@pytest.mark.parametrize(("n", "d"), [(300, 40), (35, 60)], ids=["primal", "dual"])
def test_many_penalties_together_predict_what_each_does_alone(n, d, constant):
    x, labels = features(n, d)
    labels[: n // 3] = 0  # unbalanced, so that the intercept matters
    test, _ = features(500, d, seed=1)
    probe = RidgeProbe(x, labels, classes=CLASSES, constant_feature=constant)
    grid = [2.0**k for k in (10, -3, 0, 4, -10, 7, 8, 9, 14)]
    alone = [probe.scores(test, l2).argmax(1) for l2 in grid]
    np.testing.assert_array_equal(probe.predict(test, grid), alone)
    assert len(np.unique(alone, axis=0)) > 3  # there is something to be missed


@pytest.mark.parametrize(("n", "d"), [(7000, 620), (1900, 2300)], ids=["primal", "dual"])
def test_large_problems_lose_no_prediction_to_float32(n, d):
    assert n * d > 2**22
    rng = np.random.default_rng(0)
    labels = np.arange(n) % CLASSES
    means = 0.2 * rng.normal(size=(CLASSES, d))
    draw = lambda y: (means[y] + rng.normal(size=(len(y), d)) + 5).astype(np.float32)  # noqa: E731
    x, test = draw(labels), draw(np.arange(500) % CLASSES)
    probe = RidgeProbe(x, labels, classes=CLASSES)
    grid = [1.0, 4.0, 16.0, 64.0, 1024.0]
    expected = [naive_scores(x, labels, test, l2, 1e6).argmax(1) for l2 in grid[::4]]
    np.testing.assert_array_equal(probe.predict(test, grid)[::4], expected)
    np.testing.assert_array_equal(probe.predict(test, grid[::4]), expected)


def test_primal_equals_dual_where_both_apply():
    # Examples equal to features in number: adding one feature of zeros turns primal into dual.
    x, labels = features(42, 42)
    padded = np.hstack([x, np.zeros((42, 1), np.float32)])
    one = RidgeProbe(x, labels, classes=CLASSES).scores(x, 3.0)
    other = RidgeProbe(padded, labels, classes=CLASSES).scores(padded, 3.0)
    np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(40, 12), (21, 40)], ids=["primal", "dual"])
def test_leave_one_out_equals_refits(n, d):
    x, labels = features(n, d)
    x = (x - x.mean(0)) / x.std(0)
    targets = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
    probe = RidgeProbe(x, labels, classes=CLASSES)
    for l2 in (0.5, 20.0):
        squared = []
        for i in range(n):
            keep = np.arange(n) != i
            # The probe standardises on all rows, so the refit must not standardise anew.
            refit = Ridge(alpha=l2).fit(x[keep], targets[keep])
            squared.append((refit.predict(x[i : i + 1]) - targets[i]) ** 2)
        assert probe.leave_one_out_losses([l2])[0] == pytest.approx(np.mean(squared), rel=2e-3)


def test_best_l2_is_the_least_leave_one_out_loss():
    x, labels = features(60, 30)
    probe = RidgeProbe(x, labels, classes=CLASSES)
    losses = probe.leave_one_out_losses(L2_GRID)
    assert probe.best_l2() == L2_GRID[int(np.argmin(losses))]


def test_shots_are_nested_balanced_and_repeatable():
    labels = np.repeat(np.arange(CLASSES), 30)
    few, many = draw_shots(labels, 5, seed=3), draw_shots(labels, 10, seed=3)
    assert set(few) < set(many)
    np.testing.assert_array_equal(np.bincount(labels[many]), np.full(CLASSES, 10))
    np.testing.assert_array_equal(many, draw_shots(labels, 10, seed=3))
    assert set(many) != set(draw_shots(labels, 10, seed=4))


def test_too_few_examples_of_a_class_are_refused():
    with pytest.raises(ValueError, match="class 2 has 3 examples, fewer than shots=5"):
        draw_shots(np.array([0] * 9 + [1] * 9 + [2] * 3), 5, seed=0)


def test_more_shots_of_separable_classes_err_less():
    x, labels = features(700, 20)
    test, test_labels = features(700, 20, seed=0)
    errors = [r.error for r in fewshot_errors(x, labels, test, test_labels, shots=(1, 5, 25))]
    assert errors[0] > errors[1] > errors[2]


def test_big_visions_protocol_written_out():
    x, labels = features(140, 20)
    test, test_labels = features(200, 20, seed=0)
    (found,) = fewshot_errors(x, labels, test, test_labels, shots=(5,), compat="big_vision")
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(np.where(labels == c)[0]) for c in range(CLASSES)]
        chosen = np.concatenate([order[:5] for order in orders])
        scores = naive_scores(x[chosen], labels[chosen], test, 2.0**10, 100.0)
        errors.append(np.mean(scores.argmax(1) != test_labels))
    assert found.error == pytest.approx(np.mean(errors))
    assert found.sd == pytest.approx(np.std(errors))
    assert found.draws == 3


def test_a_diverged_model_is_refused():
    x, labels = features(70, 5)
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        RidgeProbe(x, labels, classes=CLASSES)

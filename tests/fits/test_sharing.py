"""Sharing c and eps across dimensions, against joint refits of the published star."""

import pytest
import star_samples as stars

from vitscale.fits.arm import estimate
from vitscale.fits.sharing import sharing_tests


def _tests(*, center: bool):
    arms = {name: stars.arm(name, center=center) for name in stars.DIMENSIONS}
    return sharing_tests(arms, {name: estimate(arm) for name, arm in arms.items()})


# Joint relative least squares over all three arms, all parameters at once, by scipy.
def test_published_star_without_centre():
    c_only, both = _tests(center=False)
    assert (c_only.share, both.share) == ("c", "c+eps")
    assert c_only.p_value == pytest.approx(0.02, abs=0.005)
    assert both.p_value == pytest.approx(0.07, abs=0.01)
    assert (c_only.advised, both.advised) == (False, True)
    assert c_only.c == pytest.approx(0.697, abs=1e-3)
    assert (both.c, both.eps) == pytest.approx((0.697, 0.180), abs=1e-3)
    assert list(c_only.s.values()) == pytest.approx([0.249, 0.478, 0.338], abs=1e-3)
    assert list(both.s.values()) == pytest.approx([0.252, 0.462, 0.322], abs=1e-3)


def test_published_star_with_centre():
    _, both = _tests(center=True)
    assert (both.c, both.eps) == pytest.approx((0.695, 0.1805), abs=1e-3)
    assert list(both.s.values()) == pytest.approx([0.254, 0.475, 0.515], abs=1e-3)


def test_one_arm_has_nothing_to_share():
    arm = stars.arm("width", center=True)
    assert sharing_tests({"width": arm}, {"width": estimate(arm)}) == ()

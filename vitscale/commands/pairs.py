"""`--flops-per-pair`, which the commands that divide budgets have."""

import math


def flops_of_a_pair(given: float | None) -> float:
    """Training FLOPs for each parameter and token: those that were given, or 6.

    Raises `ValueError` where what was given is no such number.
    """
    from vitscale.fits.allocation import FLOPS_PER_PARAMETER_AND_TOKEN

    if given is None:
        return FLOPS_PER_PARAMETER_AND_TOKEN
    if not 0 < given < math.inf:
        raise ValueError(
            f"--flops-per-pair {given:g} is not a number of training FLOPs for each parameter and token; give a "
            f"positive one, such as 6, or for images 6 times the tokens of an image"
        )
    return given


def refuse_pairs_of_a_star(given: float | None) -> None:
    """Raise one sentence where FLOPs of a pair were given for a star."""
    if given is not None:
        raise ValueError(
            "--flops-per-pair is used with --law chinchilla only; add that, or leave it out"
        )

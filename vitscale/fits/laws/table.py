"""Every law that the solver is offered, by name. A new law is one row here, and is tested by it."""

from vitscale.fits.laws.broken import BROKEN
from vitscale.fits.laws.chinchilla import CHINCHILLA, COUPLED
from vitscale.fits.laws.law import Law
from vitscale.fits.laws.m4 import M4
from vitscale.fits.laws.power import DOUBLE_SATURATING, M3, POWER, SATURATING
from vitscale.fits.laws.shape import SHAPE_LAW
from vitscale.scaling.names import suggest

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        POWER,
        SATURATING,
        DOUBLE_SATURATING,
        M3,
        M4,
        BROKEN,
        SHAPE_LAW,
        CHINCHILLA,
        COUPLED,
    )
}


def law_named(name: str) -> Law:
    """The law of that name in `LAWS`.

    Raises `ValueError` for an unknown one.
    """
    if name not in LAWS:
        raise ValueError(f"law={name!r} is unknown; {suggest(name, LAWS)}")
    return LAWS[name]

"""Numbers as they are read in a report."""


def power(value: float) -> str:
    """A large number in three digits, such as 2.56e22."""
    return f"{value:.3g}".replace("e+", "e")


def exact(value: float) -> str:
    """A number that reads back as itself, as commands take it."""
    return f"{value!r}".replace("e+", "e")


def short(value: float) -> str:
    """A count in three digits with a word: 428 million."""
    for size, name in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million")):
        if value >= size:
            return f"{value / size:,.3g}{name}"
    return f"{value:,.0f}"

"""Why something failed, in one line."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without a full stop; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def named(error: BaseException) -> str:
    """`first_line` after the kind of error."""
    said = first_line(error)
    return said if said == type(error).__name__ else f"{type(error).__name__}: {said}"

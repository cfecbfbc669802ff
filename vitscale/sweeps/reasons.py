"""Why something failed, in one line."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without a full stop; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


_TRACEBACK = "Traceback (most recent call last)"


def named(error: BaseException) -> str:
    """`first_line` after the kind of error; the last line where an error of another process is told by its
    traceback."""
    said = first_line(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(_TRACEBACK in line for line in lines):
        said = lines[-1].rstrip(".")
    return said if said == type(error).__name__ else f"{type(error).__name__}: {said}"

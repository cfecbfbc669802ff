"""Names that are meant: the nearest known ones to a misspelt name."""

import difflib
from collections.abc import Iterable

_MANY = 10


def suggest(name: str, known: Iterable[str], *, listed: bool = True) -> str:
    """What to write instead of the unknown `name`, as the end of a sentence: "did you mean 'sovit'? choose from
    sovit, laptop".

    - `listed`: also list all that is `known`, unless it is much and some are near; otherwise the nearest
      alone, followed by a space, or nothing.
    """
    known = [str(each) for each in known]
    near = nearest(name, known)
    question = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
    if not listed:
        return f"{question} " if near else ""
    if near and len(known) > _MANY:
        return question
    return " ".join(filter(None, (question, f"choose from {', '.join(known)}" if known else "")))


def nearest(name: str, known: Iterable[str], *, most: int = 2) -> list[str]:
    """The known names nearest to a misspelt one, the nearest first; upper and lower case are the same, and what
    begins with the name counts as near."""
    by_lower: dict[str, str] = {}
    for each in known:
        by_lower.setdefault(str(each).lower(), str(each))
    name = str(name).lower()
    close = difflib.get_close_matches(name, by_lower, n=most, cutoff=0.6)
    # A second one only where it is nearly as near.
    close = [each for each in close if _likeness(name, each) > _likeness(name, close[0]) - 0.1]
    longer = [each for each in by_lower if len(name.strip("-")) >= 3 and each.startswith(name)]
    return [by_lower[each] for each in dict.fromkeys([*close, *longer])][:most]


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, name).ratio()

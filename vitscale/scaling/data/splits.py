"""Parts of a data set by name, as TFDS writes them: "train", "train[:99%]", "train[5000:]", "a+b"."""

import re
from typing import NamedTuple

from vitscale.scaling.data.stored import StoredSet

_BOUND = r"-?\d[\d_]*|-?\d+(\.\d+)?%"
_SLICE = re.compile(rf"(?P<split>[^\[\]+]+)(\[(?P<start>{_BOUND})?:(?P<stop>{_BOUND})?\])?")
_EVALUATION = ("validation", "test")
_KEEP_APART = (
    "keep some of it apart with train_split='train[:90%]' and eval_split='train[90%:]' (vitscale train: --set "
    '"train_split=train[:90%]" "eval_split=train[90%:]"), or with vitscale data prepare, which makes splits'
)
_EXAMPLE = 'write "train", "train[:99%]", "train[5000:]" or "train+validation"'


class Part(NamedTuple):
    """Examples `start` to `stop` - 1 of a split."""

    split: str
    start: int
    stop: int

    @property
    def examples(self) -> int:
        return self.stop - self.start


def parts_of(text: str, stored: StoredSet) -> tuple[Part, ...]:
    """The parts that `text` names, one after the other.

    Percentages are of the split and rounded to the closest example, as TFDS does by default. Raises
    `ValueError` for a split that does not exist, for what is not a slice and for one that is empty.
    """
    return tuple(_part(piece.strip(), stored) for piece in text.split("+"))


def evaluation_split(stored: StoredSet) -> str:
    """The split to measure on where a recipe names none: "validation", else "test".

    Raises `ValueError` where there is neither.
    """
    for split in _EVALUATION:
        if split in stored.splits:
            return split
    raise ValueError(
        f"data={stored.name!r} has neither a validation nor a test split (it has "
        f"{_listed(stored)}); {_KEEP_APART}"
    )


def _part(text: str, stored: StoredSet) -> Part:
    found = _SLICE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a split or a slice of one; {_EXAMPLE}")
    split = found["split"]
    units = {text.endswith("%") for text in (found["start"], found["stop"]) if text}
    if len(units) > 1:
        # TFDS would take both for percentages.
        raise ValueError(
            f"{text!r} mixes examples and percentages; give both bounds as one or other"
        )
    if split not in stored.splits:
        raise ValueError(
            f"data={stored.name!r} has no split {split!r}; its splits are {_listed(stored)}"
            + (f"; name one of them, or {_KEEP_APART}" if split in _EVALUATION else "")
        )
    examples = stored.splits[split]
    start = _bound(found["start"], examples, default=0)
    stop = _bound(found["stop"], examples, default=examples)
    if start >= stop:
        raise ValueError(
            f"{text!r} of data={stored.name!r} is empty: {split!r} has {examples} examples"
        )
    return Part(split, start, stop)


def _bound(text: str | None, examples: int, *, default: int) -> int:
    """A bound in examples, counted from the end where it is negative, within the split."""
    if text is None:
        return default
    if text.endswith("%"):
        bound = round(float(text[:-1]) * examples / 100)
    else:
        bound = int(text)
    return min(max(bound + examples if bound < 0 else bound, 0), examples)


def _listed(stored: StoredSet) -> str:
    return ", ".join(f"{split} ({count})" for split, count in stored.splits.items())

"""Slices of splits, against TFDS's own reading of them."""

from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from vitscale.scaling.data.splits import Part, evaluation_split, parts_of
from vitscale.scaling.data.stored import StoredSet


def stored(**splits: int) -> StoredSet:
    return StoredSet(
        name="tfds:birds",
        location=Path("birds"),
        classes=2,
        splits=splits,
        image_shape=None,
        channels=None,
        fingerprint="",
        records=lambda split: pytest.fail("no image is read"),
    )


def tfds_parts(text: str, examples: int) -> list[tuple[str, int, int]]:
    """What TFDS makes of a slice."""
    info = tfds.core.SplitInfo(
        name="train", shard_lengths=[examples], num_bytes=0, filename_template=None
    )
    read = tfds.core.ReadInstruction.from_spec(text).to_absolute({"train": info})
    return [
        (part.splitname, part.from_ or 0, examples if part.to is None else part.to) for part in read
    ]


counts = st.integers(-120, 120).map(str)
percentages = st.one_of(
    st.integers(-100, 100).map(lambda percent: f"{percent}%"),
    st.integers(-999, 999).map(lambda tenths: f"{tenths / 10}%"),
)
bounds = st.one_of(*(st.tuples(*[st.just("") | unit] * 2) for unit in (counts, percentages)))


@given(bounds=bounds, examples=st.integers(1, 110))
def test_slices_mean_what_they_mean_to_tfds(bounds, examples):
    text = f"train[{bounds[0]}:{bounds[1]}]"
    try:
        theirs = tfds_parts(text, examples)
    except (AssertionError, ValueError):  # [:], and beyond the ends, which it refuses
        return
    if theirs[0][1] >= theirs[0][2]:
        with pytest.raises(ValueError, match="is empty"):
            parts_of(text, stored(train=examples))
    else:
        assert [tuple(part) for part in parts_of(text, stored(train=examples))] == theirs


def test_parts_are_joined_in_their_order():
    assert parts_of("test + train[:50%]", stored(train=10, test=4)) == (
        Part("test", 0, 4),
        Part("train", 0, 5),
    )


def test_the_papers_pool_is_cut_where_the_split_ends():
    assert parts_of("train[:65000]", stored(train=100)) == (Part("train", 0, 100),)


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [({"train": 9, "test": 3}, "test"), ({"test": 3, "validation": 1}, "validation")],
)
def test_the_split_to_measure_on_is_found(splits, chosen):
    assert evaluation_split(stored(**splits)) == chosen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trian",
            r"data='tfds:birds' has no split 'trian'; its splits are train \(10\), test \(4\)",
        ),
        (
            "validation",
            r"splits are train \(10\), test \(4\); name one of them, or keep .*'train\[90%:\]'",
        ),
        ("train[1:2:3]", r"'train\[1:2:3\]' is not a split or a slice of one; write \"train\""),
        ("train[:0%]", r"'train\[:0%\]' of data='tfds:birds' is empty: 'train' has 10 examples"),
        ("train[5:50%]", r"'train\[5:50%\]' mixes examples and percentages"),
        ("", "'' is not a split or a slice of one"),
    ],
)
def test_other_words_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parts_of(text, stored(train=10, test=4))


def test_a_set_of_one_split_is_to_be_cut_in_two():
    with pytest.raises(ValueError, match=r"neither a validation nor a test split.*'train\[90%:\]'"):
        evaluation_split(stored(train=10))

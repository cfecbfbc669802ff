"""What is to be known of a run, what other tools call it, and how its values are read."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

_MOST = 10**15


class BadValue(ValueError):
    """A value is not what its field takes; the message ends a sentence that begins with the column."""


def whole(value: object) -> int:
    """A positive whole number, however it is written; of equal sides (16x16, [16, 16]) the side."""
    number = _number(_side(value), "a whole number from 1")
    if not number.is_integer() or not 1 <= number <= _MOST:
        raise BadValue(f"is {value!r}, but a whole number from 1 is expected")
    return int(number)


def count(value: object) -> int:
    """A whole number from 0, such as a seed."""
    number = _number(value, "a whole number from 0")
    if not number.is_integer() or not 0 <= number <= _MOST:
        raise BadValue(f"is {value!r}, but a whole number from 0 is expected")
    return int(number)


def positive(value: object) -> float:
    """A positive finite number."""
    number = _number(value, "a positive number")
    if not 0 < number < math.inf:
        raise BadValue(f"is {value!r}, but a positive number is expected")
    return number


def seconds(value: object) -> float:
    """A finite number from 0."""
    number = _number(value, "a number from 0")
    if not 0 <= number < math.inf:
        raise BadValue(f"is {value!r}, but a number from 0 is expected")
    return number


def text(value: object) -> str:
    """Any value, as text."""
    return str(value).strip()


def readout(value: object) -> str:
    """How tokens become one feature, by anyone's name for it."""
    known = {"avg": "gap", "mean": "gap", "token": "tok", "cls": "tok", "class": "tok"}
    name = str(value).strip().lower()
    name = known.get(name, name)
    if name not in ("gap", "map", "tok"):
        raise BadValue(f"is {value!r}, but gap, map or tok is expected")
    return name


def metric(value: object) -> float:
    """Any number; what is not finite means that the run diverged."""
    return _number(value)


@dataclasses.dataclass(frozen=True)
class Field:
    """One thing to be known: what others call it, the likeliest first, and how a value is read.

    `whole_name`: it is guessed only where that is a column's whole name, because the last part of a
    dotted name says too little.
    """

    names: tuple[str, ...]
    read: Callable[[object], Any]
    whole_name: bool = False


FIELDS = {
    "model": Field(("model", "model_name", "variant", "arch", "architecture", "backbone"), text),
    "width": Field(
        (
            *("width", "hidden_size", "embed_dim", "hidden_dim", "d_model", "model_dim"),
            *("emb_dim", "embedding_dim", "n_embd", "dim"),
        ),
        whole,
    ),
    "depth": Field(
        (
            *("depth", "num_layers", "num_hidden_layers", "n_layers", "n_layer", "layers"),
            *("num_blocks", "n_blocks"),
        ),
        whole,
    ),
    "mlp_dim": Field(
        (
            *("mlp_dim", "intermediate_size", "ffn_dim", "d_ff", "ff_dim", "mlp_size"),
            *("mlp_hidden_dim", "ffn_hidden_size"),
        ),
        whole,
    ),
    "mlp_ratio": Field(("mlp_ratio", "ffn_ratio", "mlp_expansion"), positive),
    "heads": Field(("heads", "num_heads", "num_attention_heads", "n_heads", "n_head"), whole),
    "head_dim": Field(("head_dim", "head_size", "dim_head"), whole),
    "patch": Field(("patch", "patch_size"), whole),
    "image_size": Field(
        ("image_size", "img_size", "resolution", "image_resolution", "input_size"), whole
    ),
    "channels": Field(("channels", "num_channels", "in_chans", "in_channels"), whole),
    "readout": Field(("readout", "pool_type", "global_pool", "pooling", "pool"), readout),
    "seed": Field(("seed", "random_seed", "rng_seed"), count),
    "batch_size": Field(("batch_size", "global_batch_size", "total_batch_size", "bs"), whole),
    "examples": Field(
        (
            *("examples", "examples_seen", "images_seen", "samples_seen", "num_examples"),
            *("total_examples", "total_samples", "images"),
        ),
        whole,
    ),
    "steps": Field(
        (
            *("steps", "total_steps", "num_steps", "train_steps", "max_steps"),
            *("num_train_steps", "global_step", "iterations"),
        ),
        whole,
    ),
    "epochs": Field(("epochs", "num_epochs", "total_epochs", "num_train_epochs"), positive),
    "train_examples": Field(
        ("train_examples", "num_train_examples", "dataset_size", "train_size"), whole
    ),
    "train_flops": Field(("train_flops", "training_flops", "total_train_flops"), positive),
    "learning_rate": Field(("learning_rate", "peak_lr", "max_lr", "base_lr", "lr"), positive),
    "data": Field(("data", "dataset", "data_name", "dataset_name", "train_data"), text),
    "recipe": Field(("recipe_id", "recipe"), text, whole_name=True),
    "device": Field(("device", "gpu", "gpu_type", "hardware", "accelerator"), text),
    "train_seconds": Field(
        ("train_seconds", "train_time", "_runtime", "Runtime", "runtime"), seconds, whole_name=True
    ),
    "measured_at": Field(
        ("measured_at", "end_time", "Created", "created_at"), text, whole_name=True
    ),
}
"""All fields, in the order in which they are told. `mlp_ratio` stands in for `mlp_dim`, `head_dim` for
`heads`, `model` (a published shape's name) for sizes, and `steps` with `batch_size`, or `epochs` with
`train_examples`, for `examples`."""

RECIPE_FIELDS = ("data", "image_size", "channels", "readout", "batch_size")
"""Fields that a recipe decides, beside what only other tools know of."""

RECIPE_COLUMNS = (
    *("optimizer", "schedule", "lr_schedule", "lr_scheduler", "weight_decay"),
    *("label_smoothing", "precision", "augmentation", "loss"),
)
"""Columns that tell recipes apart where a table has them."""

_MISSING = {"", "none", "null", "nan", "n/a", "na"}


def missing(value: object) -> bool:
    """Whether a cell of a table says nothing."""
    return value is None or str(value).strip().lower() in _MISSING


def guess(columns: Iterable[str], name: str) -> list[str]:
    """The columns that `FIELDS[name]` may mean, of equal likelihood; empty where there is none.

    A whole name comes before the last part of a dotted one (`model.hidden_size`, `config/width`).
    """
    field, columns = FIELDS[name], list(columns)
    for parts in (_whole_name,) if field.whole_name else (_whole_name, last_part):
        for known in field.names:
            found = [column for column in columns if parts(column) == _plain(known)]
            if found:
                return found
    return []


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _whole_name(column: str) -> str:
    """`column` without what tools put before every name of a kind."""
    return _plain(re.sub(r"^(params|config|hparams)[./]", "", column.strip()))


def last_part(column: str) -> str:
    """The last part of a dotted name. What was measured has no part in configurations."""
    if re.match(r"(metrics|tags|summary|train|val|eval|test)[./]", column.strip().lower()):
        return ""
    return _plain(re.split(r"[./]", column.strip())[-1])


def _number(value: object, expected: str = "a number") -> float:
    if isinstance(value, bool):
        raise BadValue(f"is {value!r}, but {expected} is expected")
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise BadValue(f"is {value!r}, but {expected} is expected") from None


def _side(value: object) -> object:
    """One side of what is written as two equal ones."""
    if isinstance(value, str):
        if match := re.fullmatch(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", value):
            value = list(match.groups())
        elif re.fullmatch(r"\s*[\[(][\d\s,.]+[\])]\s*", value):
            value = re.findall(r"[\d.]+", value)
    if isinstance(value, (list, tuple)):
        if len(value) not in (1, 2) or len({str(side) for side in value}) > 1:
            raise BadValue(f"is {value!r}, but equal sides are expected")
        return value[0]
    return value

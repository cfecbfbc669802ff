"""A shape as a JSON file: what builds the model, what it costs and where the shape comes from."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vitscale.scaling.names import suggest
from vitscale.scaling.shape import Readout, Shape

FORMAT = "vitscale.shape"
VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A shape with all else that decides a model's parameters, and where the shape comes from.

    - `image_size`: pixels of the square image; fixes the number of learned positions.
    - `classes`: outputs of a linear classifier on the readout; 0 for none.
    - `provenance`: anything JSON can hold, such as the compute that the shape is optimal for and
      the rule that says so. Kept by `shape.json` only.

    Raises `ValueError` that names the field, its value and what is accepted.
    """

    shape: Shape
    image_size: int = 224
    readout: Readout = "gap"
    channels: int = 3
    classes: int = 0
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape.check_model(
            image_size=self.image_size,
            readout=self.readout,
            channels=self.channels,
            classes=self.classes,
        )
        try:
            plain = json.loads(json.dumps(dict(self.provenance), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"provenance={self.provenance!r} does not fit into JSON ({error}); "
                f"use a dictionary of text and finite numbers"
            ) from error
        object.__setattr__(self, "provenance", plain)

    @property
    def params(self) -> int:
        """Parameters of the whole model, classifier included."""
        return self.shape.params(
            image_size=self.image_size,
            readout=self.readout,
            classes=self.classes,
            channels=self.channels,
        )

    @property
    def forward_flops(self) -> int:
        """FLOPs of one forward pass over one image as XLA counts them, without the classifier."""
        return self.shape.forward_flops(
            image_size=self.image_size, readout=self.readout, channels=self.channels
        )


def shape_json(spec: ModelSpec) -> dict[str, Any]:
    """The shape in vitscale's own format, which `shape_from_json` reads back.

    Keys: `format`, `version`, `shape` (`width`, `depth`, `mlp_dim`, `heads`, `patch`),
    `image_size`, `readout`, `channels`, `classes`, `params`, `forward_flops` (of one image) and
    `provenance`.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "shape": dataclasses.asdict(spec.shape),
        "image_size": spec.image_size,
        "readout": spec.readout,
        "channels": spec.channels,
        "classes": spec.classes,
        "params": spec.params,
        "forward_flops": spec.forward_flops,
        "provenance": dict(spec.provenance),
    }


def shape_from_json(text: str) -> ModelSpec:
    """Read what `shape_json` made.

    Raises `ValueError` for anything else: another format or version, a missing, unknown or repeated
    key, an impossible size, and counts that do not belong to the shape (a file edited by hand).
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"the shape is not valid JSON ({error}); expected a shape.json") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'the shape lacks "format": "{FORMAT}"; expected a shape.json of vitscale')
    if not _same(content.get("version"), VERSION):
        raise ValueError(
            f"the shape has version {content.get('version')!r}, but this vitscale reads {VERSION}; "
            f"use the vitscale that wrote it"
        )
    fields = ("image_size", "readout", "channels", "classes", "provenance")
    counts = ("params", "forward_flops")
    _require_keys(content, ("format", "version", "shape", *fields, *counts), "the shape file")
    _require_keys(content["shape"], [f.name for f in dataclasses.fields(Shape)], "shape")
    _require_keys(content["provenance"], None, "provenance")
    spec = ModelSpec(shape=Shape(**content["shape"]), **{name: content[name] for name in fields})
    for name in counts:
        if not _same(content[name], getattr(spec, name)):
            raise ValueError(
                f"{name}={content[name]!r} does not belong to {spec.shape}, which has "
                f"{getattr(spec, name)}; write the file anew instead of editing it"
            )
    return spec


def _same(value: Any, expected: int) -> bool:
    # In Python True == 1 == 1.0; in the file they are three different things.
    return type(value) is int and value == expected


def _require_keys(value: Any, keys: Sequence[str] | None, name: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}; expected a JSON object")
    if keys is None:
        return
    for key in keys:
        if key not in value:
            raise ValueError(f"{name} lacks {key!r}; it needs {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise ValueError(f"{name} has the unknown key {key!r}; {suggest(key, keys)}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"the shape repeats the key {repeated[0]!r}; keep one")
    return content


def _refuse(constant: str) -> float:
    raise ValueError(f"the shape holds {constant}, which JSON does not know; use a finite number")

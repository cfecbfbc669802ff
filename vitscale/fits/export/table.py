"""What a shape can be emitted for, by name, and writing it."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from vitscale.fits.export import big_vision, huggingface, openclip, timm, trial
from vitscale.fits.export.target import Emission, Target, Training
from vitscale.fits.export.writing import json_text, replace_text
from vitscale.fits.shape_file import ModelSpec, shape_json
from vitscale.scaling.names import nearest, suggest

ALL = "all"
"""Every target that can express the model."""

TARGETS: dict[str, Target] = {
    "json": Target(
        reader="vitscale, or any script",
        folder="",
        files=lambda emission: {"shape.json": json_text(shape_json(emission.spec))},
    ),
    "timm": Target(
        reader='timm.create_model("local-dir:FOLDER/timm")', folder="timm", files=timm.files
    ),
    "huggingface": Target(
        reader='transformers.AutoConfig.from_pretrained("FOLDER/huggingface")',
        folder="huggingface",
        files=huggingface.files,
    ),
    "openclip": Target(
        reader='open_clip.create_model("local-dir:FOLDER/openclip")',
        folder="openclip",
        files=openclip.files,
        lacks=openclip.lacks,
    ),
    "big_vision": Target(
        reader="python -m big_vision.train --config FOLDER/big_vision/config.py",
        folder="big_vision",
        files=big_vision.files,
        left_out=big_vision.left_out,
    ),
    "trial": Target(
        reader="vitscale train FOLDER/trial.toml",
        folder="",
        files=trial.files,
        lacks=trial.lacks,
    ),
}
"""Targets by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """The files that were written, and what was left out and why."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def targets_named(names: Iterable[str]) -> tuple[str, ...]:
    """The targets that `names` ask for, each once, in the order of the table; "all" is all of them.

    Raises `ValueError` for an unknown name, with the nearest one or how to ask for a folder.
    """
    names = tuple(names)
    known = (ALL, *TARGETS)
    for name in names:
        if name in known:
            continue
        if nearest(name, known):
            raise ValueError(f"unknown target {name!r}; {suggest(name, known)}")
        raise ValueError(
            f"unknown target {name!r}; choose from {', '.join(known)}; if it is the folder to write "
            f"into, ask for --emit all --out {name}"
        )
    return tuple(name for name in TARGETS if ALL in names or name in names)


def write_targets(
    spec: ModelSpec,
    names: Iterable[str],
    folder: Path,
    *,
    training: Training | str = "no recipe is named to train it by",
) -> Written:
    """Write the files of the targets called `names` into `folder`, which is made where missing.

    - `training`: how to train the model, or a sentence on why that is not known.

    "all" leaves out what cannot express the model, and says so. A file is either the old one or the
    whole new one, whenever the writing is interrupted. Raises `ValueError` for an unknown target and
    for one that was named and cannot express the model, before anything is written, and `OSError`
    where the folder cannot be written.
    """
    return write_texts(*target_texts(spec, names, folder, training=training))


def write_texts(texts: Mapping[Path, str], notes: tuple[str, ...] = ()) -> Written:
    """Write each text to its path, whole or not at all; folders are made where missing."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    return Written(paths=tuple(texts), notes=notes)


def target_texts(
    spec: ModelSpec,
    names: Iterable[str],
    folder: Path,
    *,
    training: Training | str = "no recipe is named to train it by",
    lies_in: Path | None = None,
) -> tuple[dict[Path, str], tuple[str, ...]]:
    """What `write_targets` would write, by path, and its notes; nothing is written.

    - `lies_in`: what files that hold the path of `folder` call it; by default its whole path.
    """
    lies_in = folder.absolute() if lies_in is None else lies_in
    names = tuple(names)
    known = training if isinstance(training, Training) else None
    texts: dict[Path, str] = {}
    notes: list[str] = []
    for name in targets_named(names):
        target = TARGETS[name]
        reason = target.lacks(spec, training)
        if reason and name in names:
            raise ValueError(f"{name} cannot be emitted: {reason}")
        if reason:
            notes.append(f"{name} is left out: {reason}")
            continue
        if lacking := target.left_out(spec, training):
            notes.append(f"{name}: {lacking}")
        place = folder / target.folder
        emission = Emission(spec=spec, folder=lies_in / target.folder, training=known)
        texts |= {place / path: text for path, text in target.files(emission).items()}
    return texts, tuple(notes)

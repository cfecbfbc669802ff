"""Writing encoded images as a TFDS data set, without TensorFlow.

TFDS itself would encode arrays and write tfrecord files through TensorFlow; given bytes, and
array_record to write, it does neither. What it writes is read by any TFDS, with TensorFlow or without.
"""

import contextlib
import fcntl
import io
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

VERSION = "1.0.0"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Encoded(NamedTuple):
    """One example: a key that no other example of its split has, a PNG or JPEG, and its class."""

    key: str
    image: bytes
    label: int


def check_free(name: str, data_dir: Path) -> Path:
    """The folder that the data set `name` will have.

    Raises `ValueError` for what TFDS takes for no name, and where a data set has it already.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a TFDS data set; use lower case letters, digits and '_', beginning "
            f"with a letter"
        )
    folder = data_dir / name / VERSION
    if folder.exists():
        raise ValueError(f"{folder} exists already; take it away to prepare {name!r} anew")
    return folder


def write_tfds(
    name: str,
    splits: Mapping[str, Iterable[Encoded]],
    *,
    class_names: Sequence[str],
    shape: tuple[int | None, int | None, int],
    description: str,
    data_dir: Path,
) -> Path:
    """Write a data set under `data_dir` and return its folder.

    `shape` is height, width (None where images differ) and channels. It is written aside and
    renamed when it is whole: what was interrupted can be started again and is never taken for a
    data set. Raises `ValueError` for a name that cannot be used or is taken.
    """
    folder = check_free(name, data_dir)
    with _aside(name, data_dir) as aside:
        builder = _builder(name, splits, class_names, shape, description, aside)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS says on it that it is downloading
            builder.download_and_prepare()
        folder.parent.mkdir(parents=True, exist_ok=True)
        (aside / name / VERSION).rename(folder)
    return folder


@contextlib.contextmanager
def _aside(name: str, data_dir: Path) -> Iterator[Path]:
    """A folder beside the data sets to write `name` into, held by one process at a time."""
    aside = data_dir / f".preparing-{name}"
    aside.mkdir(parents=True, exist_ok=True)
    with (aside / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is preparing {name!r} in {data_dir}") from None
        try:
            shutil.rmtree(aside / name, ignore_errors=True)  # of one that was killed
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _builder(
    name: str,
    splits: Mapping[str, Iterable[Encoded]],
    class_names: Sequence[str],
    shape: tuple[int | None, int | None, int],
    description: str,
    data_dir: Path,
):
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(VERSION)
        code_path = None  # no checksums of downloads, which TFDS looks for beside the code

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(shape=shape),
                "label": tfds.features.ClassLabel(names=list(class_names)),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description=description,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager: object):
            return {split: self._generate_examples(examples) for split, examples in splits.items()}

        def _generate_examples(self, examples: Iterable[Encoded]):
            for example in examples:
                yield example.key, {"image": example.image, "label": example.label}

    Builder.name = name
    return Builder(data_dir=data_dir, file_format="array_record")

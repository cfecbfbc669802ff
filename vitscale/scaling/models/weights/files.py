"""Arrays in safetensors and .npz files."""

import dataclasses
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from vitscale.scaling.models.weights.folder import synced
from vitscale.scaling.models.weights.spec import Arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file holds: arrays by name, and text by name, which .npz files have none of."""

    arrays: dict[str, np.ndarray]
    metadata: Mapping[str, str]


def read_file(path: Path) -> Contents:
    """The arrays of a file of `READERS`; bfloat16, which NumPy lacks, becomes float32.

    Raises `ValueError` for another kind of file and for one that is truncated or damaged, and
    `OSError` where it cannot be read.
    """
    if path.suffix not in READERS:
        hint = " (a pickle, which can run code; convert it to safetensors first)"
        pickled = path.suffix in (".bin", ".pth", ".pt", ".pkl", ".ckpt")
        raise ValueError(
            f"{path} is not a file of weights{hint if pickled else ''}; expected one of "
            f"{', '.join(READERS)}"
        )
    return READERS[path.suffix](path)


def write_safetensors(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write a new safetensors file and wait until it is on the disk."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata=dict(metadata))
    # The library makes files that only their owner may read; the folder has what the umask allows.
    path.chmod(path.parent.stat().st_mode & 0o666)
    synced(path)


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write a new .npz file and wait until it is on the disk."""
    with path.open("xb") as file:
        np.savez(file, **dict(arrays))  # pyright: ignore[reportArgumentType]
    synced(path)


def _read_safetensors(path: Path) -> Contents:
    path.open("rb").close()  # the library's own error for a missing file lacks its name
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            unknown = set(types.values()) - {"BF16", *_TYPES}
            if not unknown and "BF16" not in types.values():
                arrays = {name: file.get_tensor(name) for name in types}
                return Contents(arrays=arrays, metadata=metadata)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no whole safetensors file ({error}); copy or download it again"
        ) from error
    if unknown:
        raise ValueError(
            f"{path} holds arrays of type {', '.join(sorted(unknown))}; expected floats of 16 bits "
            f"or more: give weights that are not quantised"
        )
    return Contents(arrays=_with_bfloat16(path), metadata=metadata)


def _with_bfloat16(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in deserialize(path.read_bytes()):
        if tensor["dtype"] == "BF16":
            # bfloat16 is the upper half of a float32.
            halves = np.frombuffer(tensor["data"], "<u2").astype("<u4") << 16
            arrays[name] = halves.view(np.float32).reshape(tensor["shape"])
        else:
            kind = _TYPES[tensor["dtype"]]
            arrays[name] = np.frombuffer(tensor["data"], kind).reshape(tensor["shape"])
    return arrays


# safetensors' types that NumPy has, bfloat16 aside. What is no float is refused by its name later.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?"}
_TYPES |= {f"{sign.upper()}{8 * size}": f"<{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)}


def _read_npz(path: Path) -> Contents:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is no whole .npz file of plain arrays ({error}); copy or download it again"
        ) from error
    return Contents(arrays=arrays, metadata={})


READERS: dict[str, Callable[[Path], Contents]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
"""Kinds of files that weights are read from, by suffix."""

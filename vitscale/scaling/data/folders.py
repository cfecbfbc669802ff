"""Where data sets and decoded images are kept on this machine."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Folder in which TFDS data sets and relative paths are looked up.

    It is `VITSCALE_DATA_DIR`, else `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
    """
    named = os.environ.get("VITSCALE_DATA_DIR") or os.environ.get("TFDS_DATA_DIR")
    return Path(named or "~/tensorflow_datasets").expanduser().absolute()


def in_data_folder(place: str) -> Path:
    """A path as a recipe gives it: absolute, from home, or relative to the data folder."""
    return data_folder() / Path(place).expanduser()


def decoded_folder() -> Path:
    """Folder of decoded images, shared by all runs: `VITSCALE_CACHE_DIR`, else `~/.cache/vitscale`."""
    named = os.environ.get("VITSCALE_CACHE_DIR")
    if named:
        return Path(named).expanduser().absolute() / "decoded"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache.absolute() / "vitscale" / "decoded"

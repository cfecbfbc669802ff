"""The frameworks that take our configs, imported where they are installed.

They bring torch, several GB in its CUDA build, so `uv run pytest` does without them and skips these
tests. `bash .ci/run` installs them beside the project and sets VITSCALE_INTEROP=required, which
turns a missing framework into a failure.
"""

import importlib
import os
import sys
from types import ModuleType

import pytest

REASON = "{} is not installed; `uv run --group interop pytest tests/interop` gets it (several GB)"


def framework(name: str) -> ModuleType:
    """The module `name`, or a skip that says how to get it."""
    if os.environ.get("VITSCALE_INTEROP") == "required":
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=REASON.format(name))


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    return framework("torch")


@pytest.fixture(scope="session")
def torchvision_operators(torch):
    """Let torchvision be imported whose compiled part is for another build of torch.

    PyPI's torchvision is linked to CUDA and cannot load its operators under a CPU build of torch.
    Its Python part then fails, as it describes two operators that do not exist. timm imports
    torchvision for image transforms only, so declaring the two is enough.
    """
    if _loads("torchvision"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # The declarations live as long as this object.
    return library


def _loads(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError):
        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            del sys.modules[module]
        return False
    return True


@pytest.fixture(scope="session")
def timm(torchvision_operators):
    return framework("timm")


@pytest.fixture(scope="session")
def transformers(torchvision_operators):
    return framework("transformers")


@pytest.fixture(scope="session")
def open_clip(timm):
    return framework("open_clip")


@pytest.fixture(scope="session")
def ml_collections():
    """What big_vision's configs are written in; big_vision itself is on no package index."""
    return framework("ml_collections")

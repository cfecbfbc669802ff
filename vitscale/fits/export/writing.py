"""Text files that are either the old one or the whole new one."""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(content: Mapping[str, Any]) -> str:
    """`content` as the text of a JSON file. Raises `ValueError` where it holds NaN or infinity."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def replace_text(path: Path, text: str) -> None:
    """Write `text` whole and durably, or not at all; what is at `path` stays until then."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise

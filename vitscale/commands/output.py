"""What commands print: one JSON object, or lines."""

import json
import sys
from collections.abc import Callable
from typing import Any


def output(as_json: bool, content: dict[str, Any], lines: Callable[[], list[str]]) -> None:
    """Print `content` as one JSON object, or what `lines` gives."""
    if as_json:
        print_json(content)
    else:
        print("\n".join(lines()))


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object; numbers that JSON lacks become null."""
    from vitscale.fits.json_numbers import finite

    json.dump(finite(content), sys.stdout, allow_nan=False, default=str)
    sys.stdout.write("\n")

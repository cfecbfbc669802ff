"""Named places where a test can make a process die or a disk fill up.

`VITSCALE_FAILPOINTS="store.before_link=kill, simulated.step=raise@40"` kills the process at its
first pass through `store.before_link`, and raises at the 40th pass through `simulated.step`.
Without the variable a failpoint costs one look-up.
"""

import errno
import os
import signal
from collections import Counter

_VARIABLE = "VITSCALE_FAILPOINTS"
_passes: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do what the environment says for `name`: nothing, "kill", "raise", "enospc" or "erofs"."""
    setting = os.environ.get(_VARIABLE)
    if setting is None:
        return
    _passes[name] += 1
    for part in setting.split(","):
        where, _, what = part.strip().partition("=")
        action, _, count = what.partition("@")
        if where == name and _passes[name] == int(count or 1):
            _act(action, name)


def _act(action: str, name: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise RuntimeError(f"failpoint {name}")
    elif action in ("enospc", "erofs"):
        code = getattr(errno, action.upper())
        raise OSError(code, os.strerror(code))
    else:
        raise ValueError(f"{_VARIABLE}: unknown action {action!r} at {name}")

"""The plans that a store knows: those that were run or submitted there."""

import dataclasses
import hashlib

from vitscale.sweeps.config import plan_from_toml
from vitscale.sweeps.plan import Plan
from vitscale.sweeps.store import Problem, Store

_HASH = 6
"""Digits of a plan's hash that are shown where its name is not enough."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedPlans:
    """Plans by what tells them apart: the name, followed by the beginning of the hash in its file's name where
    plans of one name differ. `unreadable`: files that were edited, or are of another version."""

    plans: dict[str, Plan]
    unreadable: tuple[Problem, ...]


def read_recorded(store: Store, names: list[str] | None = None) -> RecordedPlans:
    """The plans of `store`.

    - `names`: only those of these names, labels, or names of files in `plans/`.

    Raises `ValueError` where one of them is not there, or its file cannot be read.
    """
    by_name: dict[str, list[tuple[str, Plan]]] = {}
    unreadable: dict[str, Problem] = {}
    for key, text in store.recorded_plans().items():
        try:
            plan = plan_from_toml(text)
        except ValueError as error:
            reason = (
                f"is no plan ({error}); mend it, take it away, or use the version that wrote it"
            )
            unreadable[key] = Problem(path=store.where(key), reason=reason)
            continue
        alike = by_name.setdefault(plan.name, [])
        # Another version may write the same otherwise.
        if plan not in [other for _, other in alike]:
            alike.append((hashlib.sha256(text.encode()).hexdigest()[:12], plan))
    found, called = {}, {}
    for name, alike in by_name.items():
        for digest, plan in alike:
            label = name if len(alike) == 1 else f"{name}-{digest[:_HASH]}"
            found[label] = plan
            called[label] = {name, label, f"{name}-{digest}", f"{name}-{digest}.toml"}
    for name in names or ():
        if any(name in each for each in called.values()):
            continue
        for key, problem in unreadable.items():
            if key.removeprefix("plans/").startswith(name):
                raise ValueError(f"{problem.path} {problem.reason}")
        there = ", ".join(sorted(found)) or "none"
        raise ValueError(f"the store {store.name} has no plan {name!r}; it has {there}")
    return RecordedPlans(
        plans={
            label: plan for label, plan in found.items() if not names or called[label] & {*names}
        },
        unreadable=tuple(unreadable.values()),
    )


def recorded(store: Store, names: list[str] | None = None) -> list[Plan]:
    """The plans that can be read; those that `names` name where some are named.

    Raises `ValueError` as `read_recorded`.
    """
    return list(read_recorded(store, names).plans.values())

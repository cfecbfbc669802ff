"""A sweep of real, tiny trainings under fire, held against one that was left alone.

    uv run python -m benchmarks.faults --ray                 # 200 SIGKILLs, about 25 minutes on 2 cores
    uv run python -m benchmarks.faults --kills 8 --trials 4  # what the tests run

`vitscale worker` processes and drivers (`vitscale sweep`, with the local engine and, with --ray, on a Ray
cluster of several nodes) share one store. Processes of theirs, drivers and workers and their children and
whole Ray nodes, are killed with SIGKILL at random moments, in the middle of training, of a checkpoint, of
a write; between the kills the store is taken away and brought back (unwritable), the disk is filled, and
the store is compacted. Who is gone is started again. In the end
the table must equal that of an undisturbed sweep, bit for bit, and no measurement may have been
made twice.

Prints what was done; exits 1 where the tables differ. `--out` keeps the summary as JSON; with --publish
it goes to results/faults.json and into docs/sweeps.md.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.markdown import table, write_between
from benchmarks.measure import machine
from benchmarks.ray_cluster import SMALL, cluster_of
from vitscale.scaling.recipe import Recipe
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.plan import GridSweep, Plan
from vitscale.sweeps.store import Store

RESULT = Path(__file__).parent / "results" / "faults.json"
DOCS = Path(__file__).parents[1] / "docs" / "sweeps.md"

SAME = ["trial_id", "examples", "metric", "status", "value", "value_sd", "draws", "learning_rate"]
"""Columns that must be equal; the others say when, where and how long."""

# What a process dies of by itself: the places between two steps of a write.
FAILPOINTS = (
    "store.write",
    "store.before_link",
    "store.linked",
    "lease.take",
    "lease.beat",
    "lease.release",
    "checkpoint.save",
    "checkpoint.delete",
)


def plan(trials: int) -> Plan:
    """Trainings of some ten seconds each, with checkpoints every second."""
    recipe = Recipe(
        data="glyphs",
        image_size=16,
        channels=1,
        batch_size=32,
        learning_rate=3e-3,
        warmup_steps=5,
        cooldown_steps=500,
        evaluators=("upstream", "fewshot"),
    )
    sweep = GridSweep(
        widths=(8,),
        depths=(1,),
        mlp_dims=(16,),
        patch=8,
        recipe=recipe,
        durations=(32 * 1_500, 32 * 4_500),
        seeds=tuple(range(trials)),
        head_dim=8,
    )
    return Plan(name="faults", sweep=sweep)


@dataclasses.dataclass
class Campaign:
    """Processes on one store, and what was done to them.

    - `rng`: every choice comes from it. `ray`: nodes that are killed too; None for none.
    """

    folder: Path
    rng: random.Random
    workers: int
    ray: "RayNodes | None" = None
    done: Counter[str] = dataclasses.field(default_factory=Counter)
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def keep_up(self) -> None:
        """Have a driver and the workers run; some start with a place to die at."""
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < self.workers:
            kinds = ["worker", "driver"] if self.ray is None else ["worker", "driver", "Ray driver"]
            kind = self.rng.choice(kinds)
            options = ["--workers", "1", "--checkpoint-seconds", "1"]
            command = ["worker", str(self.store), *options]
            if kind != "worker":
                toml = str(self.folder / "plan.toml")
                command = ["sweep", "grid", toml, "--store", str(self.store), *options]
            if kind == "Ray driver" and self.ray is not None:
                command += ["--engine", "ray", "--address", self.ray.address]
            environment = dict(os.environ)
            if self.rng.random() < 0.3:
                where = self.rng.choice(FAILPOINTS)
                environment["VITSCALE_FAILPOINTS"] = f"{where}=kill@{self.rng.randint(1, 6)}"
                self.done[f"started to die at {where}"] += 1
            with open(self.folder / "output.log", "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "vitscale", *command],
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
            self.processes.append(process)
            self.done[f"{kind}s started"] += 1

    def kill_one(self) -> None:
        """SIGKILL to a driver, a worker, or a child of one; or to a Ray node and all that runs on it."""
        if self.ray is not None and self.rng.random() < 0.25:
            self.ray.lose_one(self.rng)
            self.done["Ray nodes killed"] += 1
            return
        family = [p.pid for p in self.processes if p.poll() is None]
        children = [child for pid in family for child in _children(pid)]
        if self.ray is not None:
            children += self.ray.actors()
        victims = children if children and self.rng.random() < 0.7 else family
        if not victims:
            return
        victim = self.rng.choice(victims)
        os.kill(victim, signal.SIGKILL)
        self.done["children killed" if victim in children else "parents killed"] += 1

    def take_the_store_away(self) -> None:
        """A file system that is gone for a second."""
        away = self.store.with_name("away")
        self.store.rename(away)
        time.sleep(1.0)
        if self.store.exists():  # somebody made a folder of it: what they wrote is lost with them
            self.store.rename(self.store.with_name(f"void-{self.done['store taken away']}"))
        away.rename(self.store)
        self.done["store taken away"] += 1

    def fill_the_disk(self) -> None:
        """Whatever is written first by new processes finds the disk full."""
        environment = {**os.environ, "VITSCALE_FAILPOINTS": "store.write=enospc@2"}
        process = subprocess.run(
            [sys.executable, "-m", "vitscale", "worker", str(self.store), "--workers", "1"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in process.stderr, process.stderr
        self.done["disk filled"] += 1

    def compact(self) -> None:
        """One file of many, while all others go on."""
        subprocess.run(
            [sys.executable, "-m", "vitscale", "store", "compact", str(self.store)],
            capture_output=True,
            check=True,
        )
        self.done["compacted"] += 1

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class RayNodes:
    """The nodes of a Ray cluster on this machine, one CPU each: lost by SIGKILL, and replaced."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def lose_one(self, rng: random.Random) -> None:
        """Kill a node other than the head, its raylet and its actors, and start another."""
        from ray.exceptions import RayError

        nodes = sorted(self._cluster.worker_nodes, key=lambda node: node.unique_id)
        node, actors = rng.choice(nodes), self.actors()
        self._cluster.remove_node(node, allow_graceful=False)
        for pid in set(actors) - set(self.actors()):  # of a node that is off, actors are off too
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(RayError):
            self._cluster.add_node(num_cpus=1, **SMALL)

    def actors(self) -> list[int]:
        """Processes that train, or are about to."""
        raylets = [
            entry.process.pid
            for node in self._cluster.worker_nodes
            for entry in node.all_processes.get("raylet", ())
        ]
        return [child for pid in raylets for child in _children(pid) if _is_actor(child)]


def campaign(
    folder: Path,
    *,
    trials: int,
    kills: int,
    seed: int,
    workers: int = 2,
    pause: float = 8.0,
    ray: bool = False,
) -> dict[str, Any]:
    """Run it; the summary says what was done and whether the tables are equal."""
    with contextlib.ExitStack() as stack:
        nodes = None
        if ray:
            hosts = [{"num_cpus": 1}] * 2
            nodes = RayNodes(stack.enter_context(cluster_of(hosts)))
        fire = Campaign(folder, random.Random(seed), workers, nodes)
        return _campaign(fire, trials, kills, pause)


def _campaign(fire: Campaign, trials: int, kills: int, pause: float) -> dict[str, Any]:
    folder = fire.folder
    target = plan(trials)
    (folder / "plan.toml").write_text(plan_to_toml(target))
    calm = folder / "calm"
    began = time.monotonic()
    _vitscale("sweep", "grid", str(folder / "plan.toml"), "--store", str(calm), "--workers", "2")
    calm_s = time.monotonic() - began

    store = Store.open(fire.store, create=True)
    store.prepare()
    store.record_plan(target.name, plan_to_toml(target))
    began, killed = time.monotonic(), 0
    outages = [fire.take_the_store_away, fire.fill_the_disk, fire.compact]
    fire.rng.shuffle(outages)
    between, had = max(2, kills // 6), 0
    try:
        while killed < kills:
            if _is_done(store, target):
                break
            fire.keep_up()
            time.sleep(fire.rng.uniform(0.5, pause))
            fire.kill_one()
            killed = sum(count for what, count in fire.done.items() if what.endswith(" killed"))
            if killed // between > had:
                outages[had % len(outages)]()
                had += 1
    finally:
        fire.end()
    _vitscale("resume", str(fire.store), "--workers", "2")
    summary = {
        "machine": machine(),
        "trials": trials,
        "kills": killed,
        "done": dict(sorted(fire.done.items())),
        "undisturbed_s": round(calm_s, 1),
        "under_fire_s": round(time.monotonic() - began, 1),
        "problems": [str(problem) for problem in store.check()],
        "differences": differences(Store.open(calm), store),
    }
    return summary


def differences(calm: Store, fire: Store) -> list[str]:
    """What the two stores disagree about, in words; nothing where they are equal bit for bit."""
    ours: Any = fire.read()[SAME].reset_index(drop=True)
    theirs: Any = calm.read()[SAME].reset_index(drop=True)
    found = []
    if ours.duplicated(["trial_id", "examples", "metric"]).any():
        found.append("measurements were made twice")
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} rows, and {len(theirs)} undisturbed")
    elif not ours.equals(theirs):
        columns = [name for name in SAME if not ours[name].equals(theirs[name])]
        found.append(f"other values in {', '.join(columns)}")
    return found


def sections(summary: dict[str, Any]) -> dict[str, list[str]]:
    """The table of docs/sweeps.md."""
    equal = "; ".join(summary["differences"]) or "equal, bit for bit"
    rows = [
        ("trials, each with two durations", str(summary["trials"])),
        ("SIGKILLs", str(summary["kills"])),
        *((what, str(count)) for what, count in summary["done"].items()),
        ("undisturbed", f"{summary['undisturbed_s'] / 60:.1f} min"),
        ("under fire", f"{summary['under_fire_s'] / 60:.1f} min"),
        ("files at fault in the end", str(len(summary["problems"]))),
        ("final table, against the undisturbed sweep's", equal),
    ]
    return {"faults": table(("what", "how much"), rows)}


def _is_done(store: Store, target: Plan) -> bool:
    try:
        measured = store.measured_durations()
    except OSError:
        return False
    return all(set(t.durations) <= measured.get(t.id, set()) for t in target.trials)


def _vitscale(*arguments: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "vitscale", *arguments], capture_output=True, text=True
    )
    if process.returncode:
        raise RuntimeError(f"vitscale {' '.join(arguments)}: {process.stdout}{process.stderr}")


def _is_actor(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    """Run the campaign that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=180)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=8.0, help="longest time between kills, s")
    parser.add_argument("--ray", action="store_true", help="on the nodes of a Ray cluster too")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--publish", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        summary = campaign(
            Path(folder),
            trials=arguments.trials,
            kills=arguments.kills,
            seed=arguments.seed,
            workers=arguments.workers,
            pause=arguments.pause,
            ray=arguments.ray,
        )
    text = json.dumps(summary, indent=1)
    print(text)
    short = summary["kills"] < arguments.kills
    if short:
        told = f"all trials were done after {summary['kills']} of {arguments.kills} kills"
        print(f"{told}; give more --trials than {arguments.trials}", file=sys.stderr)
    if arguments.publish and not short:
        RESULT.write_text(text + "\n")
        write_between(DOCS, sections(summary))
    if arguments.out:
        arguments.out.write_text(text + "\n")
    if summary["differences"] or summary["problems"]:
        sys.exit(1)


if __name__ == "__main__":
    main()

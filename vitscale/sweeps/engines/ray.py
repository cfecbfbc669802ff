"""Ray Core places trials on the machines of a cluster; there each is trained as on any machine.

For each trial that runs at once there is a crew: an actor on each host that the trial takes, in which a
`LocalEngine` has one worker process. Crews are kept from trial to trial. Ray holds nothing that is needed:
actors die with the driver, results are in the store, and what is not there is trained again from its
checkpoints. The hosts of a crew that loses one are let go of together.
"""

import contextlib
import dataclasses
import json
import math
import os
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from vitscale.scaling.execution import Execution
from vitscale.scaling.progress import CHECKPOINT_SECONDS, Progress
from vitscale.scaling.recipe import Trial
from vitscale.sweeps.engines.engine import Attempt, Runner
from vitscale.sweeps.engines.local import Gang, LocalEngine, packed_together, packmates
from vitscale.sweeps.places.place import check_shared
from vitscale.sweeps.reasons import first_line
from vitscale.sweeps.store import Store
from vitscale.sweeps.wire import trial_from_dict, trial_to_dict

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup
    from ray.util.tpu import SlicePlacementGroup

_CONNECT_S = 10.0
_START_S = 30.0
"""What starting an actor may take before others are looked after."""
_LOOK_AGAIN_S = 5.0
"""How often the machines of the cluster are counted."""
_LAST_WORDS_S = 3.0
_SLICE_NAME = "ray.io/tpu-slice-name"
_LOOPBACK = ("127.", "::1", "localhost")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What one trial takes: `hosts` machines, each with so many CPUs and GPUs; or a whole TPU slice, as
    VERSION:TOPOLOGY (v6e:4x4), whose hosts are counted by itself.

    Raises `ValueError` that names what cannot be.
    """

    hosts: int = 1
    cpus: int = 1
    gpus: int = 0
    tpu: str | None = None

    def __post_init__(self) -> None:
        if self.hosts < 1 or self.cpus < 1 or self.gpus < 0:
            raise ValueError(
                f"hosts={self.hosts}, cpus={self.cpus} and gpus={self.gpus}: a trial takes a host and a CPU at "
                f"least, and no negative number of GPUs"
            )
        if self.tpu is not None:
            version, colon, topology = self.tpu.partition(":")
            if not version or not colon or not all(n.isdecimal() for n in topology.split("x")):
                raise ValueError(
                    f"tpu={self.tpu!r} is no slice; write VERSION:TOPOLOGY, as v6e:4x4"
                )
            if self.gpus or self.hosts > 1:
                raise ValueError(f"tpu={self.tpu} has its own hosts; leave --hosts and --gpus out")

    @property
    def slice(self) -> tuple[str, str]:
        """Version and topology of the TPU slice."""
        version, _, topology = (self.tpu or "").partition(":")
        return version, topology

    @property
    def of_a_host(self) -> dict[str, float]:
        """What Ray has to find on each host, by its names."""
        return {"CPU": float(self.cpus)} | ({"GPU": float(self.gpus)} if self.gpus else {})

    def __str__(self) -> str:
        if self.tpu is not None:
            return f"a TPU slice {self.tpu}"
        what = [f"{self.cpus} CPUs"] + ([f"{self.gpus} GPUs"] if self.gpus else [])
        on = f"{self.hosts} hosts with " if self.hosts > 1 else ""
        return on + " and ".join(what)


class _Request(NamedTuple):
    """Trials to try together, the store's address, and where to say what happens; None ends it."""

    trials: list[Trial]
    address: str
    events: "queue.SimpleQueue[list[dict] | None]"


class _Member:
    """What is an actor on each host: a `LocalEngine` with one worker, in a thread of its own."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._grace: float | None = None

    def address(self) -> str:
        """A free port of this host, for the first of a gang."""
        from ray.util import get_node_ip_address

        with socket.socket() as free:
            free.bind(("", 0))
            return f"{get_node_ip_address()}:{free.getsockname()[1]}"

    def begin(self, gang: Sequence[Any] | None) -> str:
        """Start the thread that has the engine; gives the host's name."""
        execution = Execution(**self._options.pop("execution"))
        engine = LocalEngine(
            workers=1,
            all_devices=True,
            execution=execution,
            gang=None if gang is None else Gang(*gang),
            **self._options,
        )
        threading.Thread(target=self._serve, args=(engine,), daemon=True).start()
        return socket.gethostname()

    def attempt(self, trials: Sequence[str], address: str) -> Iterator[str]:
        """Try trials together; gives what happens as it happens, JSON lists of events."""
        self._grace = None
        events: queue.SimpleQueue[list[dict] | None] = queue.SimpleQueue()
        decoded = [trial_from_dict(json.loads(text)) for text in trials]
        self._requests.put(_Request(decoded, address, events))
        while (found := events.get()) is not None:
            yield json.dumps(found)

    def stop(self, grace_seconds: float) -> None:
        """Have the attempt under way save and end."""
        self._grace = grace_seconds

    def _serve(self, engine: LocalEngine) -> None:
        # One thread for ever: worker processes die with the thread that started them.
        while True:
            request = self._requests.get()
            left = {trial.id for trial in request.trials}
            try:
                store = Store.open(request.address)
                for trial in request.trials:
                    engine.submit(trial, store)
                while left and self._grace is None:
                    events = engine.poll(0.2)
                    left -= {e.trial_id for e in events if isinstance(e, Attempt)}
                    if events:
                        request.events.put([_as_dict(event) for event in events])
            except (OSError, ValueError, RuntimeError) as error:
                outcome = "unstorable" if isinstance(error, OSError) else "failed"
                ends = [
                    Attempt(trial_id=trial_id, outcome=outcome, reason=str(error))
                    for trial_id in sorted(left)
                ]
                request.events.put([_as_dict(end) for end in ends])
            if self._grace is not None:
                unsaved = engine.cancel(grace_seconds=self._grace)
                request.events.put([{"event": "unsaved", "trial_id": each} for each in unsaved])
            request.events.put(None)


@dataclasses.dataclass
class _Crew:
    """The actors that train trials together, one on each host.

    - `started`: what will be the names of the hosts.
    - `group`: of Ray, which holds the places of several hosts; `placed` tells when it has them all. A
      `slice_group` holds it where the hosts are those of a TPU slice.
    - `streams`: what they tell of the attempts at `trials`, by host; those that ended are left out.
    """

    members: list[Any] = dataclasses.field(default_factory=list)
    started: list[Any] = dataclasses.field(default_factory=list)
    group: "PlacementGroup | None" = None
    slice_group: "SlicePlacementGroup | None" = None
    slice_name: str = ""
    placed: Any = None
    trials: list[Trial] = dataclasses.field(default_factory=list)
    store: Store | None = None
    streams: dict[int, Any] = dataclasses.field(default_factory=dict)
    heard: bool = False
    core_seconds: float = 0.0


class RayEngine:
    """Trials on a Ray cluster; as a context manager it lets go of it on leaving.

    - `address`: of the cluster, "auto" for the one that this machine belongs to, "local" for one that is
      started here, on loopback alone, and ends with this process.
    - `needs`: of each trial. `workers`: how many run at once; by default as many as the cluster has room for.
    - the rest as for `LocalEngine`.

    Raises `ValueError` where Ray is not installed, the cluster is not to be reached, is open to anyone who can
    reach it, or has no room for a single trial.
    """

    def __init__(
        self,
        *,
        address: str = "auto",
        needs: Needs | None = None,
        workers: int | None = None,
        runner: Runner = "train",
        execution: Execution | None = None,
        pack: int = 1,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self._needs = needs or Needs()
        self._ray = _connected(address)
        self.pack = pack
        self._most = workers
        self._options = {
            "threads": self._needs.cpus,
            "runner": runner,
            "execution": dataclasses.asdict(execution or Execution()),
            "pack": pack,
            "checkpoint_seconds": checkpoint_seconds,
        }
        self._crews: list[_Crew] = []
        self._queue: list[tuple[Trial, Store]] = []
        self._put_back: list[Attempt] = []
        """Ends of trials that went with one that was cancelled, for the next poll."""
        self._room, self._counted_at = self._count_room(), time.monotonic()
        self._check = LocalEngine(workers=1, runner=runner)
        if workers is None and not self.workers:
            there = _machines(self._nodes)
            self._ray.shutdown()
            raise ValueError(
                f"the Ray cluster has no room for a trial, which takes {self._needs}; its machines have "
                f"{there}. Ask for less, or say --workers to wait for machines that come later"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
        self._ray.shutdown()

    @property
    def workers(self) -> int:
        """How many trials, or packs of them, run at once."""
        return self._room if self._most is None else self._most

    def capacity(self) -> int:
        under_way = sum(len(crew.trials) for crew in self._crews)
        return max(0, self.workers * self.pack - under_way - len(self._queue))

    def check(self, trial: Trial) -> None:
        """Raise `ValueError`, with the way out, where `trial` cannot be trained, as far as this machine knows."""
        self._check.check(trial)

    def check_store(self, where: str | Path) -> None:
        """Raise `ValueError`, with the way out, where trials cannot be trained into the store at `where`."""
        check_shared(where, self._count_hosts())

    def calibrate(self, trials: Sequence[Trial]) -> Any:
        """Raises `ValueError`: the machines of a cluster are not tried."""
        raise ValueError(
            "--calibrate measures this machine, not a cluster; leave it out with --engine ray"
        )

    def submit(self, trial: Trial, store: Store) -> None:
        """Start one attempt at `trial`.

        Raises `RuntimeError` where there is no room, `ValueError` where a trial takes several hosts and
        the store is no folder.
        """
        self.check_store(store.name)
        if self.capacity() < 1:
            raise RuntimeError(f"all {self.workers} places are taken; poll until one is free")
        self._queue.append((trial, store))
        if self.pack == 1:
            self._start_waiting()

    def poll(self, timeout: float) -> list[Progress | Attempt]:
        """What the crews said, and which of them were lost.

        Raises `RuntimeError` where one cannot even start, or the cluster is gone.
        """
        if time.monotonic() - self._counted_at > _LOOK_AGAIN_S:
            self._room, self._counted_at = self._count_room(), time.monotonic()
        self._start_waiting()
        events: list[Progress | Attempt] = [*self._put_back]
        self._put_back, timeout = [], 0.0 if events else timeout
        streams = {s: (c, h) for c in self._crews for h, s in c.streams.items()}
        if not streams:
            time.sleep(timeout)
            return events
        ready, _ = self._ray.wait(list(streams), num_returns=1, timeout=timeout)
        more, _ = self._ray.wait(list(streams), num_returns=len(streams), timeout=0)
        for stream in dict.fromkeys([*ready, *more]):
            crew, host = streams[stream]
            if crew in self._crews and crew.streams.get(host) is stream:
                events += self._hear(crew, host)
        return events

    def cancel(self, trial_id: str | None = None, *, grace_seconds: float = 0.0) -> set[str]:
        """Ask the crews of one trial, or all, to save and go, wait that long at most, and let go of them; gives the
        ids of the trials under way that were not saved.

        What was trained together with that one trial goes with its crew: the next poll says that it was preempted.
        """
        self._queue = [(t, s) for t, s in self._queue if trial_id not in (None, t.id)]
        self._put_back = [a for a in self._put_back if trial_id not in (None, a.trial_id)]
        leaving = [
            c for c in self._crews if trial_id is None or trial_id in {t.id for t in c.trials}
        ]
        unsaved = _under_way(leaving)
        if grace_seconds > 0:
            for crew in leaving:
                for member in crew.members if crew.trials else ():
                    member.stop.remote(grace_seconds)
            unsaved = self._wait_for_ends(leaving, grace_seconds)
        for crew in leaving:
            if trial_id is not None:
                self._put_back += packmates([t.id for t in crew.trials], trial_id, 0.0)
            self._let_go(crew)
        return unsaved

    def _wait_for_ends(self, crews: list[_Crew], seconds: float) -> set[str]:
        """Until the attempts of these crews have ended, of which nothing more is told; gives the ids of the trials
        that were not saved."""
        deadline = time.monotonic() + seconds + _LAST_WORDS_S
        left = {stream: crew for crew in crews for stream in crew.streams.values()}
        unsaved: set[str] = set()
        while left and time.monotonic() < deadline:
            ready, _ = self._ray.wait(list(left), num_returns=1, timeout=0.5)
            for stream in ready:
                try:
                    said = json.loads(self._ray.get(next(stream)))
                    unsaved |= {v["trial_id"] for v in said if v["event"] == "unsaved"}
                except StopIteration:
                    del left[stream]
                except self._ray.exceptions.RayError:
                    unsaved |= _under_way([left.pop(stream)])
        return unsaved | _under_way(left.values())

    def _start_waiting(self) -> None:
        """Hand waiting trials to crews that are free, and make new ones where there is room."""
        self._take_from_the_unplaced()
        while self._queue and sum(bool(crew.trials) for crew in self._crews) < self.workers:
            crew = next((c for c in self._crews if not c.trials), None) or self._new_crew()
            if crew is None:
                return  # somebody else has the machines; they may be free at the next poll
            together, store = packed_together(self._queue, self.pack)
            self._queue = [(t, s) for t, s in self._queue if t not in together or s is not store]
            crew.trials, crew.store, crew.core_seconds = together, store, 0.0
            self._set_to_work(crew)
        for crew in self._crews:
            if crew.trials and not crew.members:
                self._set_to_work(crew)

    def _set_to_work(self, crew: _Crew) -> None:
        """Have all hosts of a crew begin its trials, once it has them all."""
        if not crew.members:
            if crew.placed is not None and not self._ray.wait([crew.placed], timeout=0)[0]:
                return
            self._man(crew)
        assert crew.store is not None
        texts, address = [json.dumps(trial_to_dict(t)) for t in crew.trials], crew.store.address
        crew.streams = {
            host: member.attempt.options(num_returns="streaming").remote(texts, address)
            for host, member in enumerate(crew.members)
        }

    def _hear(self, crew: _Crew, host: int) -> list[Progress | Attempt]:
        """The next word of one host; only the first host's progress and end are the trial's, but any host's loss
        or failure."""
        try:
            said = json.loads(self._ray.get(next(crew.streams[host])))
        except StopIteration:
            del crew.streams[host]
            return []
        except self._ray.exceptions.RayError as error:
            return self._lose(crew, host, error)
        crew.heard = True
        events: list[Progress | Attempt] = []
        for values in said:
            kind = values.pop("event")
            if kind == "progress":
                events += [Progress(**values)] if host == 0 else []
                continue
            attempt = Attempt(**values)
            crew.core_seconds += attempt.core_seconds
            if host > 0 and attempt.outcome in ("done", "busy", "preempted"):
                continue
            events.append(self._named(attempt, crew, host))
            crew.trials = [trial for trial in crew.trials if trial.id != attempt.trial_id]
            if attempt.outcome in ("failed", "lost", "unstorable") and len(crew.members) > 1:
                self._let_go(crew)  # the others wait for what will not come
                break
        return events

    def _named(self, attempt: Attempt, crew: _Crew, host: int) -> Attempt:
        """With the host's name where it matters."""
        if attempt.outcome == "unstorable":
            seen = "; every machine of the cluster has to see the store"
        elif attempt.outcome == "lost":
            seen = ""
        else:
            return attempt
        return dataclasses.replace(
            attempt, reason=f"on {self._name(crew, host)}: {attempt.reason}{seen}"
        )

    def _lose(self, crew: _Crew, host: int, error: Exception) -> list[Progress | Attempt]:
        """The attempts of a crew that lost one of its hosts."""
        lost = crew.trials
        self._let_go(crew)
        reason = f"host {self._name(crew, host)} went away ({first_line(error)})"
        if not crew.heard and "creation task" in str(error):
            raise RuntimeError(f"nothing can be trained on the Ray cluster: {error}")
        return [
            Attempt(
                trial_id=trial.id, outcome="lost", reason=reason, core_seconds=crew.core_seconds
            )
            for trial in lost
        ]

    def _new_crew(self) -> _Crew | None:
        """A crew whose places Ray looks for; None where a TPU slice is not to be had now."""
        crew = _Crew()
        if self._needs.tpu is not None:
            from ray.util.tpu import slice_placement_group

            version, topology = self._needs.slice
            crew.slice_name, hosts = self._whole_slice()
            try:
                crew.slice_group = slice_placement_group(
                    topology=topology,
                    accelerator_version=version,
                    head_reservation_timeout_s=_CONNECT_S,
                    bundle_label_selector=[{_SLICE_NAME: crew.slice_name}] * hosts or None,
                )
            except TimeoutError:
                return None
            crew.group = crew.slice_group.placement_group
        elif self._needs.hosts > 1:
            from ray.util.placement_group import placement_group

            bundles = [dict(self._needs.of_a_host) for _ in range(self._needs.hosts)]
            crew.group = placement_group(bundles, strategy="STRICT_SPREAD")
        if crew.group is not None:
            crew.placed = crew.group.ready()
        self._crews.append(crew)
        return crew

    def _whole_slice(self) -> tuple[str, int]:
        """Name and hosts of a TPU slice that has all its chips and none of our crews. By itself Ray may wait
        for ever for the rest of a slice that has lost a host. ("", 0) where slices have no names."""
        version, topology = self._needs.slice
        slices: dict[str, list[float]] = {}
        for node in self._ray.nodes():
            labels = node.get("Labels") or {}
            name, pod = labels.get(_SLICE_NAME, ""), labels.get("ray.io/tpu-pod-type", "")
            if node["Alive"] and name and pod.startswith(f"{version.lower()}-"):
                slices.setdefault(name, []).append(node["Resources"].get("TPU", 0.0))
        chips = math.prod(int(side) for side in topology.split("x"))
        taken = {crew.slice_name for crew in self._crews}
        for name, hosts in slices.items():
            if len(hosts) > 1 and sum(hosts) == chips and name not in taken:
                return name, len(hosts)
        return "", 0

    def _man(self, crew: _Crew) -> None:
        """Start the actors of a crew, and tell them of each other."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        count = 1 if crew.group is None else crew.group.bundle_count
        options: dict[str, Any] = {"num_cpus": self._needs.cpus, "num_gpus": self._needs.gpus}
        if crew.slice_group is not None:
            whole = dict(crew.slice_group.bundle_resources)  # all that is reserved on a host
            options = {"num_cpus": whole.pop("CPU", 0), "resources": whole}
        for index in range(count):
            if crew.group is not None:
                options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                    placement_group=crew.group, placement_group_bundle_index=index
                )
            actor = self._ray.remote(_Member).options(max_concurrency=3, max_restarts=0, **options)
            crew.members.append(actor.remote(self._options))
        if count == 1:
            crew.started = [crew.members[0].begin.remote(None)]
            return
        try:  # a host that is lost meanwhile is told by its attempt
            coordinator = self._ray.get(crew.members[0].address.remote(), timeout=_START_S)
            crew.started = [
                member.begin.remote((coordinator, count, index))
                for index, member in enumerate(crew.members)
            ]
        except self._ray.exceptions.RayError:
            for member in crew.members:  # none may wait for one that never began
                self._ray.kill(member)

    def _name(self, crew: _Crew, host: int) -> str:
        """What a host calls itself, as far as it is known."""
        with contextlib.suppress(self._ray.exceptions.RayError, IndexError):
            return self._ray.get(crew.started[host], timeout=0)
        return "of the cluster"

    def _take_from_the_unplaced(self) -> None:
        """Crews that are free get the trials of those that Ray finds no room for: machines have gone away."""
        free = sum(not crew.trials for crew in self._crews)
        for crew in [c for c in self._crews if c.trials and not c.heard][:free]:
            if crew.members and self._ray.wait(crew.started, timeout=0)[0]:
                continue
            assert crew.store is not None
            self._queue = [(trial, crew.store) for trial in crew.trials] + self._queue
            self._let_go(crew)

    def _let_go(self, crew: _Crew) -> None:
        if crew in self._crews:
            self._crews.remove(crew)
        crew.trials, crew.streams = [], {}
        with contextlib.suppress(
            Exception
        ):  # of a cluster that is gone there is nothing to let go of
            for member in crew.members:
                self._ray.kill(member)
            if crew.slice_group is not None:
                crew.slice_group.shutdown()
            elif crew.group is not None:
                from ray.util.placement_group import remove_placement_group

                remove_placement_group(crew.group)

    @property
    def _nodes(self) -> list[dict[str, float]]:
        """The resources of each machine of the cluster that lives."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _count_hosts(self) -> int:
        """How many hosts a trial takes."""
        if self._needs.tpu is None:
            return self._needs.hosts
        from ray.util.tpu import get_tpu_worker_resources

        version, topology = self._needs.slice
        hosts, _ = get_tpu_worker_resources(topology, f"TPU-{version.upper()}")
        return hosts

    def _count_room(self) -> int:
        """How many trials the cluster has room for."""
        if self._needs.tpu is not None:
            from ray.util.tpu import get_num_tpu_slices

            version, topology = self._needs.slice
            return get_num_tpu_slices(topology, f"TPU-{version.upper()}")
        wanted = self._needs.of_a_host
        places = [
            int(min(node.get(name, 0.0) // count for name, count in wanted.items()))
            for node in self._nodes
        ]
        places = sorted(place for place in places if place > 0)
        if self._needs.hosts == 1:
            return sum(places)
        gangs = 0
        while len(places) >= self._needs.hosts:  # hosts of a trial are different machines
            gangs += 1
            for index in range(-self._needs.hosts, 0):
                places[index] -= 1
            places = sorted(place for place in places if place > 0)
        return gangs


def _connected(address: str) -> Any:
    """The module `ray`, connected.

    Raises `ValueError` with the way out where that cannot be, or the cluster asks nobody for a token.
    """
    # Before ray is imported, which reads them then.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else Ray, where it was started by `uv run`, sends the whole working directory to every machine.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise ValueError("Ray is not installed; get it with: pip install 'vitscale[ray]'") from None
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and not _answers(host.rpartition("/")[2], int(port)):
        raise ValueError(
            f"nobody answers at {address}; start the cluster with `ray start --head`, "
            f"or use --address local for one on this machine"
        )
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    elif host.startswith("127."):  # hosts of a test: this process has to be one of them
        options["_node_ip_address"] = host
    try:
        ray.init(address=address, configure_logging=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster was found at {address} ({first_line(error)}); start one with `ray start --head`, or use "
            f"--address local for one on this machine"
        ) from None
    if not _asks_for_a_token(ray):
        ray.shutdown()
        raise ValueError(
            f"the Ray cluster at {address} obeys anyone who can reach it: start its machines and this command with "
            f"RAY_AUTH_MODE=token, and the token that `ray get-auth-token --generate` makes"
        )
    return ray


def _asks_for_a_token(ray: Any) -> bool:
    """Whether the cluster is closed to strangers, or on loopback alone."""
    try:
        from ray._private.authentication.authentication_utils import is_token_auth_enabled

        if is_token_auth_enabled():
            return True
    except ImportError:  # of another version of Ray
        if os.environ.get("RAY_AUTH_MODE") == "token":
            return True
    addresses = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    return all(address.startswith(_LOOPBACK) for address in addresses)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def _machines(nodes: Sequence[Mapping[str, float]]) -> str:
    """The machines of a cluster that have anything to give, largest first: 2 with 8 CPU and 1 GPU, ..."""
    kinds = Counter(tuple(node.get(name, 0.0) for name in ("GPU", "TPU", "CPU")) for node in nodes)
    words = []
    for gpus, tpus, cpus in sorted((kind for kind in kinds if any(kind)), reverse=True):
        parts = [f"{cpus:g} CPU", f"{gpus:g} GPU", f"{tpus:g} TPU"]
        said = " and ".join(part for part in parts if not part.startswith("0 "))
        words.append(f"{kinds[gpus, tpus, cpus]} with {said}")
    return ", ".join(words) or "nothing to give"


def _under_way(crews: Iterable[_Crew]) -> set[str]:
    """Ids of the trials that these crews have begun."""
    return {trial.id for crew in crews if crew.heard for trial in crew.trials}


def _as_dict(event: Progress | Attempt) -> dict[str, Any]:
    kind = "progress" if isinstance(event, Progress) else "attempt"
    return {"event": kind, **dataclasses.asdict(event)}

"""A Ray cluster of several hosts that are all this machine, on loopback (of
127.0.0.1 Ray makes the address of the machine)."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def fake_cluster(hosts: list[dict[str, Any]]) -> Iterator[str]:
    """The address of a cluster of hosts with these resources; see `cluster_of`."""
    with cluster_of(hosts) as cluster:
        yield cluster.address


@contextlib.contextmanager
def cluster_of(hosts: list[dict[str, Any]]) -> Iterator[Any]:
    """Ray's own `Cluster`, with `add_node` and `remove_node`; its head has nothing to give."""
    # Read when ray is imported, here and by every process that is started from here.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(20))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL},
    )
    try:
        for host in hosts:
            cluster.add_node(**SMALL, **host)
        yield cluster
    finally:
        ray.shutdown()  # of a test that failed before its engine did
        cluster.shutdown()


SMALL = {"object_store_memory": 80_000_000, "node_ip_address": "127.0.0.2"}

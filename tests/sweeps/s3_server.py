"""An S3 server of this machine for tests: moto, on a loopback port that the system chooses."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

SERVER = """
import sys
from moto.server import main
main(["--host", "127.0.0.1", "--port", sys.argv[1]])
"""


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server with the bucket "sweeps"; gives the environment that points clients at it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if "PROXY" not in name.upper()},
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _make_bucket(f"{endpoint}/sweeps", process)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
    finally:
        process.terminate()
        process.wait()


def _make_bucket(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(urllib.request.Request(url, method="PUT"), timeout=5).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "moto did not start"
            time.sleep(0.1)

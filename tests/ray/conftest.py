"""A Ray cluster of two cores in this machine, started once a file, that nobody else can reach."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

# Ray reads these when it is imported, and its processes have them from this one.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # else it writes a file at home
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its processes listen on loopback alone
os.environ["RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "0.2"
os.environ["RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "0.2"

# Else a proxy that does not answer in 5 seconds, as on a busy machine, is killed while it starts.
os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"
os.environ["RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S"] = "60"

os.environ["RAY_TQDM_PATCH_PRINT"] = "0"  # else it replaces Python's print for later tests

_OBJECT_STORE_BYTES = 100 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """The cluster, until the end of a file."""
    import ray

    processes: list[subprocess.Popen[bytes]] = []
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # a short path: sockets are in it
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        # Ray ends its processes without waiting for them, at which Python warns.
        started = ray._private.worker._global_node.all_processes.values()
        processes = [each.process for kind in started for each in kind]
        yield
    finally:
        ray.shutdown()
        for process in processes:
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)  # processes that end may still write there

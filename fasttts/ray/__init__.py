"""Engines on a Ray cluster: replicas behind Ray Serve, and Ray Data; needs the extra `ray`."""

try:
    import pyarrow  # noqa: F401, the packages of the extra come together
    import ray  # noqa: F401, as above
except ImportError as error:
    raise ImportError("pip install 'fasttts[ray]' for engines on a Ray cluster") from error

from fasttts.ray.application import build_app
from fasttts.ray.dataset import result_of, solve_dataset

__all__ = ["build_app", "result_of", "solve_dataset"]

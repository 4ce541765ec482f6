"""Reports of an engine: requests, statistics, traces and metrics."""

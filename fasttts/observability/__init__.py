"""What an engine reports: requests, statistics, traces and metrics."""

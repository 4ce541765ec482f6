"""Benchmarks: our path and the plain path on the same work, a table and one JSON line."""

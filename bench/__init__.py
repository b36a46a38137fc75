"""Workloads, the load generator and benchmarks."""

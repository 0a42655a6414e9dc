"""Benchmarks; `make bench` runs them, and a test runs each on a few rows."""

"""Measures taskq beside a bare loop over Redis, in one run, on one server: `python -m benchmarks`."""

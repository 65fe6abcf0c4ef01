"""Benchmarks of the hot paths: `python -m benchmarks NAME`. `README.md` says how to read the numbers."""

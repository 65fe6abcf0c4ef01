"""The tests of Kavach. A package, so that benchmarks can reuse `tests.postgres_server`."""

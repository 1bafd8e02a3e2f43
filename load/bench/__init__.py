"""Benchmarks of the reference server, each a script that takes its own yardstick along."""

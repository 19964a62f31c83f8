"""Performance as ratios: run a benchmark with ``python -m benchmarks.NAME``.

Each compares against a peer or a limit measured in the same run, pinned to one core,
and prints medians. It exits with 1, naming what misses an "at least".
"""

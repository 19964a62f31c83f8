"""Performance as ratios: run a benchmark with ``python -m benchmarks.NAME``.

``runtime`` and ``supervision`` compare each figure with a peer or a limit measured in
the same run, on one core, and print medians; what has no peer is a bound. They exit
with 1, naming what misses what is demanded; what was not measured is named, too.

``pip install '.[bench]'`` brings pykka. triotp wants an environment of its own:
install it there, and name its interpreter with ``--triotp``.
"""

"""How fast and how large: the figures of docs/performance.md, and the commands that give them.

``python -m benchmarks`` (``make bench``) measures all of them, ``python -m benchmarks unary`` one.
``pytest benchmarks`` times the engine's kernels one by one, for comparing two versions of one.
"""

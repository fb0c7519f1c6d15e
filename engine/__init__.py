"""The reservation engine: a pure, deterministic state machine over positions.

It knows no clock, no randomness, no input or output: time enters as an integer
in the command, and the same commands in the same order give the same state,
bit for bit. `lint-imports` fails the build when something here imports its way
out of that.
"""

"""What the script ``holdfast`` calls.

A module beside the package, because gRPC's core reads its environment when it is loaded, and
whoever imports anything of `holdfast` has loaded it. Its remarks on stderr are for gRPC's own
developers, and no line of our log.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from holdfast.cli import main

__all__ = ["main"]

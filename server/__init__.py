"""The Holdfast server: transport, application and journal around the engine.

Calls flow one way: transport to application, application to engine and to
journal. No room imports from the one that calls it.
"""

import os

# Said before gRPC is loaded. Its core writes remarks of its own to stderr, between the lines of the
# log; and it must not be stopped when a snapshot's process is started, which loads it anew anyway.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

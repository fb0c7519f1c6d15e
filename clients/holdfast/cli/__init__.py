"""The command line: ``holdfast serve``, ``holdfast load``, ``holdfast reserve``, ...

Exit codes:

====  ==================================================================================
0     done
1     the server failed, or this program did
2     wrong usage: a flag, a file, or an argument that the server can not take
3     refused by the ledger: not enough stock, expired, not found, changed meanwhile
4     not reached in time: no server, overloaded, deadline passed
5     not permitted: identity or scope
6     a load left rows out; the good ones are applied
7     the answer is no: not serving, or a verification found differences
130   interrupted
====  ==================================================================================
"""

import os

# Before gRPC is loaded: its core writes remarks of its own to stderr, which is for people and logs.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from holdfast.cli.app import main

__all__ = ["main"]

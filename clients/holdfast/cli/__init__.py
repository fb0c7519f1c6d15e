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

from holdfast.cli.app import main

__all__ = ["main"]

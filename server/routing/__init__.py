"""The network as routing sees it, and orders as problems of `engine.routing`.

Documents of the ledger become an immutable `network.Network`; an order on it and on the ledger's
state becomes an `assembly.Assembly` with the problem's arrays. Nothing here waits or writes.
"""

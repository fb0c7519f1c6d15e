"""The same orders through what a shop would otherwise build: ``python -m benchmarks.peers``.

Two services in Python over gRPC, written as their communities would and tuned: one keeps stock in
Redis and reserves by a Lua script, one in PostgreSQL by a function. They take the same request, sum
equal lines, are all-or-none, remember the request id, note an expiry, and answer once it is
durable. They are no more than that: no confirmation, no node groups, no expiry, no feeds.
"""

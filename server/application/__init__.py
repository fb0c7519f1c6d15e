"""What happens between the wire and the engine: order, durability, recovery, time.

Callers: `server.transport` and `server.lifecycle`.
"""

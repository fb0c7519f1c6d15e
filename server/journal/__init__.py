"""The journal: the durable, ordered record of everything the ledger did.

`port` says what every journal does, `sqlite_journal` is the embedded one, `snapshot` and
`snapshot_files` keep restarts short. Nothing here knows what a command means: payloads are bytes,
snapshots are named arrays.

Callers: `server.application` only.
"""

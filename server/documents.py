"""Kinds of documents the ledger keeps for the server, and where it finds one.

Values are part of the journal's format: never renumber.
"""

from __future__ import annotations

NODE = 1
NODE_GROUP = 2
ITEM = 3
CARRIER = 4
CARRIER_SERVICE = 5
CHANNEL = 6
ROUTING_RULES = 7
FEED = 8  # how far a feed of IngestInventory has come
ROUTING_RULES_VERSION = 9  # an older version of a set of rules, under "name\0version"
ROUTING_DECISION = 10  # what PromiseOrder or ReplanOrder decided, under "reservation_id\0number"
ROUTING_TARIFF = 11  # a tariff that decisions were made with, under its digest
ROUTING_DIRECTORY = 12  # names of nodes and services that decisions count, under their digest

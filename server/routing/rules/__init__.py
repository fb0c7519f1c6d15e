"""Routing rules: YAML with conditions in the Common Expression Language.

`reading` makes rules of a text, or says line and reason; `ruling` holds them against a network,
once a version, and against an order; `contradictions` finds rules that no order can keep.
"""

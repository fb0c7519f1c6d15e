"""Kernels that read the ledger's positions for routing: a folder of its own, as compiled code is
kept by a folder's sources."""

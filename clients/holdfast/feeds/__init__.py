"""Files of nodes, items and stock, into the ledger: what ``holdfast load`` does.

A file is read in blocks of columns, each row is checked where it stands, good rows are sent and
bad ones reported by file, row, field, value and reason. Nothing is guessed.
"""

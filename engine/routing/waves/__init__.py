"""Many orders routed together against stock and capacity that they share.

`wave` poses the problem, `solver` answers it: a plan for each order, or why it has none, and a
bound that no answer can be below.
"""

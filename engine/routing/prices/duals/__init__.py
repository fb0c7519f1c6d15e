"""Opportunity costs as dual prices that are solved anew, again and again, from what was ordered.

`prices` keeps the orders and says what a unit is worth, `solving` works the dual prices out,
`counting` says what they count for in the cost of a plan.
"""

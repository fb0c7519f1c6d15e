"""Opportunity prices of a server: what a unit of stock is worth to orders still to come.

The prices are `engine.routing.prices`; here they get their horizon and their memory. Stock is taken
to be replenished at the end of every period, counted from 1970; then prices begin anew.

Two sources, of which a server has one: `paced`, worked out promise by promise, and `duals`, solved
anew again and again beside the server (`server.application.price_solves`). Both follow from the
decisions the ledger keeps, which `promises` finds there, so they are no state of their own: after a
restart or a take-over they are worked out from those of the running period (docs/decisions/0024,
0035). Units held by other commands move no price.
"""

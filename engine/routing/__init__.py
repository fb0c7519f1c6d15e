"""Routing: from which nodes and by which carrier services an order ships at the least cost.

Pure like the rest of the engine: arrays in, plans out, money in whole minor units, the same input
gives the same plan. Nothing here reads the ledger; whoever calls brings a problem
(`engine.routing.problem`) and gets plans (`engine.routing.solver`).
"""

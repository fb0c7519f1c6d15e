"""What a unit of stock is worth to orders still to come: prices that pace, no forecast needed.

`pacing` keeps the prices, `decide` lets them choose, or only records what they would have chosen.
"""

"""How large a routing problem may be, and how long the search may work on it.

Crossing a size is a `ProblemError` that names the limit. Every `@kernel` compiles these values in.
"""

from typing import Final

# One bit each of a 64-bit mask, the sign left out.
lines_per_order_max: Final = 62
services_max: Final = 62

# Candidate nodes of one order.
nodes_per_order_max: Final = 4096

# Shipments of one plan, and plans of one answer.
shipments_per_plan_max: Final = 8
plans_max: Final = 16

# Steps of weight of a rate table, and zones.
weight_steps_max: Final = 128
zones_max: Final = 64

# Parcels of one shipment.
parcels_per_shipment_max: Final = 64

# A weight in grams, a volume in cubic centimetres, the units of an order: their products must fit
# 64 bits.
weight_g_max: Final = 100_000_000
volume_cm3_max: Final = 100_000_000
quantity_max: Final = 1_000_000

# Any single cost in minor units; sums over an order stay far below 64 bits.
cost_max: Final = 1_000_000_000_000

# Steps of some 30 ns each after which the search stops and says how far it is from proven.
work_budget: Final = 40_000

# Orders of a wave, and the places (node, item) at which they may find stock.
orders_per_wave_max: Final = 5_000
positions_per_wave_max: Final = 1 << 25

"""How large an order may be for routing, beside `engine.limits` and `engine.routing.limits`."""

from typing import Final

from engine.routing import limits as solver

# Units of an order, all lines together.
order_quantity_max: Final = solver.quantity_max
# What rules may ask about an order.
attributes_per_order_max: Final = 32
attribute_bytes_max: Final = 64
# Minor units for each day after the promised one.
late_cost_per_day_max: Final = 100_000_000
# Carrier services an order may exclude.
excluded_services_max: Final = 64
# Steps of the search a caller may ask for: 30 ms, so that no call keeps the others waiting.
work_budget_max: Final = 1_000_000
# Nodes an explanation tells of, where the caller does not say.
nodes_explained_default: Final = 50
# Times an order is planned anew because another one was faster, before it is refused.
replans_max: Final = 8
# Waves: time and work a caller may ask for, and how often it may be told how far they are.
wave_budget_ms_max: Final = 600_000
wave_budget_ms_default: Final = 10_000
progress_interval_ms_min: Final = 10
progress_interval_ms_max: Final = 60_000
progress_interval_ms_default: Final = 500
# The ids of its orders' holds are made from a wave's.
wave_request_id_bytes_max: Final = 48
# Nodes times services, over all orders of a wave: some 100 bytes each.
wave_cells_max: Final = 5_000_000
# Results in one message.
results_per_message_max: Final = 100

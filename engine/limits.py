"""Every limit, once. The fields of proto/ name them; crossing one is a clear error.

Owns: the maxima and defaults of requests, names, the ledger and the network. Units come last in
the names. A request beyond a limit is refused with LIMIT_EXCEEDED, a ledger that would grow
beyond one with LEDGER_LIMIT_REACHED; both name the limit as it is written here.

Invariants
1. Plain integers, never changed while the program runs: kernels compile them in.
2. A limit may be raised at any time; lowering one breaks callers and old journals.

Callers: anyone.
"""

from typing import Final

# Names, in bytes of UTF-8. A name's length must fit one byte of a command (engine.commands).

# A UUID has 36; shops like to put their own order number here.
reservation_id_bytes_max: Final = 64
# Also of a feed's feed_id, which takes its place.
request_id_bytes_max: Final = 64
# A shopper, cart or customer.
owner_bytes_max: Final = 64
# A GTIN has 14; composed SKUs of fashion reach 40.
sku_bytes_max: Final = 64
# A node or a node group.
node_bytes_max: Final = 64
# A sales channel.
channel_bytes_max: Final = 32
# A purchase order line, transfer or preorder.
supply_id_bytes_max: Final = 64
# A carrier's pickup slot.
slot_bytes_max: Final = 64
# A carrier or one of its services.
carrier_bytes_max: Final = 64
# A set of routing rules.
routing_rules_id_bytes_max: Final = 64
# A carrier's zone.
zone_bytes_max: Final = 32
# A property of an item or node, such as hazmat.
flag_bytes_max: Final = 32
# The longest in use have 10 characters.
postal_code_bytes_max: Final = 16
# The caller's document beside a movement.
reference_bytes_max: Final = 64
# A name for people; also the reason of a freeze.
display_name_bytes_max: Final = 256
# The server's own, returned by the caller.
page_token_bytes_max: Final = 256
# The server's own, returned by the caller.
resume_token_bytes_max: Final = 256

# One reservation.

# Lines of one order; more is a wave, not a checkout.
lines_per_reservation_max: Final = 100
# Positions one reservation takes from, so that one step stays short.
takes_per_reservation_max: Final = 256
# Node days and carrier slots, within takes_per_reservation_max.
capacity_takes_per_reservation_max: Final = 32
# Units of one line, adjustment or limit: fits an int32.
quantity_max: Final = 1_000_000_000
# A hold of more than 30 days is a confirmed order.
hold_ttl_ms_max: Final = 30 * 24 * 60 * 60 * 1000
# What a checkout takes at most.
hold_ttl_ms_default: Final = 15 * 60 * 1000

# One request.

# Keeps one bulk step of the writer under a few milliseconds.
requests_per_bulk_max: Final = 4096
# All of them are one atomic step.
reservations_per_batch_create_max: Final = 64
# Large enough that the message's overhead no longer counts.
rows_per_ingest_chunk_max: Final = 50_000
# Items or nodes of one message, within its bytes.
rows_per_batch_upsert_max: Final = 10_000
# Also counts, withholdings and transfer lines.
adjustments_per_request_max: Final = 1000
# SKUs times nodes of one query or watch.
query_positions_max: Final = 10_000
# Also the node groups of a channel.
node_groups_per_query_max: Final = 256
# Levels whose crossing is an event.
thresholds_per_watch_max: Final = 16
# Commands of one stream; further ones wait by flow control.
exchange_in_flight_max: Final = 1024
# Larger page sizes are taken as this; also events of one watch message.
page_size_max: Final = 1000
# Where the caller gives none.
page_size_default: Final = 100
# Differences a verification lists; it counts them all.
differences_per_verify_max: Final = 1000
# Numbers older than an hour answer no question.
max_staleness_ms_max: Final = 60 * 60 * 1000
# Where the caller gives none.
max_staleness_ms_default: Final = 1000
# Longest wait for calls under way.
drain_grace_ms_max: Final = 10 * 60 * 1000
# As Kubernetes waits after SIGTERM.
drain_grace_ms_default: Final = 30 * 1000
# gRPC's own default.
unary_message_bytes_max: Final = 4 * 1024 * 1024
# Bulk creates, feed chunks and batch upserts.
bulk_message_bytes_max: Final = 16 * 1024 * 1024

# The ledger.

# Units on hand: sums of two positions still fit an int32.
units_per_position_max: Final = 1_000_000_000
# How long an answer is remembered under its request_id.
idempotency_window_ms: Final = 24 * 60 * 60 * 1000
# A node's number fits 16 bits.
nodes_max: Final = 65_535
# Nodes a line of a group may be taken from.
node_group_nodes_max: Final = 256
# A channel's number fits 8 bits, 0 being none.
channels_max: Final = 255
# Open supplies of one SKU at one node: ATP reads them all.
supplies_per_position_max: Final = 64

# The network, as routing reads it.

# A carrier's number fits 8 bits.
carriers_max: Final = 255
# A service's number fits 12 bits.
carrier_services_max: Final = 4_095
# Lanes, rates, transits or pickups of one service.
rows_per_carrier_table_max: Final = 10_000
# Each is tried for each parcel.
surcharges_per_service_max: Final = 256
# Properties of an item or node: a 32-bit mask.
flags_per_item_max: Final = 32
# A year of them.
holidays_per_calendar_max: Final = 366
# One set of rules as YAML.
routing_rules_bytes_max: Final = 1024 * 1024
# 1000 tonnes.
weight_grams_max: Final = 1_000_000_000
# 100 metres.
dimension_mm_max: Final = 100_000
# Sums over thousands of lines still fit an int64.
money_minor_max: Final = 1_000_000_000_000
# Grams a parcel, or milligrams a kilogram and kilometre.
co2e_grams_max: Final = 1_000_000_000
# Rank of a node, lower first.
priority_max: Final = 1_000_000
# Half the equator.
distance_km_max: Final = 20_038
# Working days on the road.
transit_days_max: Final = 365
# From order to parcel ready.
processing_time_ms_max: Final = 30 * 24 * 60 * 60 * 1000
# What a channel may promise at most.
delivery_time_ms_max: Final = 365 * 24 * 60 * 60 * 1000
# Parts per million of a reliability.
ppm_max: Final = 1_000_000
# Ten times the rate.
surcharge_share_ppm_max: Final = 10_000_000
# Cubic millimetres that count as a gram.
dimensional_divisor_max: Final = 1_000_000

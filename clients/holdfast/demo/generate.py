"""Makes the data: TPC-DS by DuckDB's tpcds extension, cut down to files that the demo loads.

Run as a program of its own (``python -m holdfast.demo.generate``), so that its memory, above a
gigabyte at scale 1, is given back before the orders start, and so that the server can start
beside it. The extension is a file of the PyPI package duckdb-extension-tpcds and is loaded from
there: nothing is downloaded, nothing is written to the home directory.

Files: ``nodes.csv``, ``items.csv``, ``network.yaml`` and ``stock.csv`` as ``holdfast load`` takes
them, and ``orders.npz``: the columns of `holdfast.demo.dataset`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_LIMIT = "1GB"  # beyond it DuckDB spills to the directory of the output

# A ship mode has a carrier, a type and a code, but neither price nor time: these are the demo's.
_DAYS = {"OVERNIGHT": 1, "NEXT DAY": 1, "TWO DAY": 2, "EXPRESS": 3, "REGULAR": 5, "LIBRARY": 8}
_NEAR_KM = 1_000
_PARCEL_CENTS = 500
_HASTE_CENTS = 2_000  # shared out over the days it may take
_FAR_SHARE = 3, 2
_PICKUP_MINUTE = 17 * 60
_SERVICE = "replace(lower(sm_carrier || '-' || sm_type), ' ', '-')"

# Lines of both sales tables. TPC-DS leaves some foreign keys empty on purpose; such lines can not
# be reserved and are counted instead. Catalogue and web orders number from 1 each.
_LINES = """
create temp table lines as
select 'C-' || lpad(cs_order_number::varchar, 8, '0') as order_id, cs_item_sk as item,
       cs_warehouse_sk as warehouse, cs_quantity as quantity, cs_sold_date_sk as sold_day,
       cs_sold_time_sk as sold_second, cs_ship_date_sk as ship_day,
       cr_return_quantity as return_quantity, cr_returned_date_sk as return_day,
       coalesce(cr_reason_sk in (select r_reason_sk from reason where r_reason_desc like
                                 '%damaged%'), false) as return_damaged,
       cs_ship_mode_sk as ship_mode, cs_ship_addr_sk as address
from catalog_sales left join catalog_returns
     on cr_order_number = cs_order_number and cr_item_sk = cs_item_sk
where cs_sold_date_sk between $first and $last
union all
select 'W-' || lpad(ws_order_number::varchar, 8, '0'), ws_item_sk, ws_warehouse_sk, ws_quantity,
       ws_sold_date_sk, ws_sold_time_sk, ws_ship_date_sk, wr_return_quantity,
       wr_returned_date_sk,
       coalesce(wr_reason_sk in (select r_reason_sk from reason where r_reason_desc like
                                 '%damaged%'), false),
       ws_ship_mode_sk, ws_ship_addr_sk
from web_sales left join web_returns
     on wr_order_number = ws_order_number and wr_item_sk = ws_item_sk
where ws_sold_date_sk between $first and $last
"""

_SOUND = "warehouse is not null and quantity is not null and sold_second is not null"


def load_extension(connection: Any) -> None:
    """Load tpcds from its package. Raises RuntimeError saying what to install."""
    found = importlib.util.find_spec("duckdb_extension_tpcds")
    if found is None or found.origin is None:
        raise RuntimeError("the demo's data need more packages: pip install 'holdfast[demo]'")
    version = connection.execute("pragma version").fetchone()[0]
    file = Path(found.origin).parent / "extensions" / version / "tpcds.duckdb_extension"
    if not file.is_file():
        raise RuntimeError(
            f"duckdb {version} and duckdb-extension-tpcds are not of one version: "
            "pip install 'holdfast[demo]'"
        )
    connection.execute(f"load '{file}'")


def generate(scale: float, orders: int, directory: Path) -> None:
    """Write the files for the last `orders` orders of the data's last full season."""
    import duckdb

    directory.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(directory / "spill"),
            "threads": "1",
        }
    )
    load_extension(connection)
    connection.execute(f"call dsdgen(sf = {scale})")
    first, last, opening = _season(connection, orders)
    connection.execute(_LINES, {"first": first, "last": last})
    _write_network(connection, directory)
    _write_ship_modes(connection, directory)
    _write_stock(connection, opening, directory)
    _write_orders(connection, first, orders, scale, directory)
    connection.close()


def _season(connection: Any, orders: int) -> tuple[int, int, int]:
    """First and last day of the season, and the day of its opening inventory (Julian days).

    It ends with the last weekly inventory and goes back until it has `orders` orders.
    """
    last = connection.execute("select max(inv_date_sk) from inventory").fetchone()[0]
    row = connection.execute(
        """
        select max(day) from (
            select day, sum(orders) over (order by day desc) as orders from (
                select day, sum(orders) as orders from (
                    select cs_sold_date_sk as day, count(distinct cs_order_number) as orders
                    from catalog_sales where cs_sold_date_sk <= $last group by 1
                    union all
                    select ws_sold_date_sk, count(distinct ws_order_number)
                    from web_sales where ws_sold_date_sk <= $last group by 1
                ) group by day))
        where orders >= $orders
        """,
        {"last": last, "orders": orders},
    ).fetchone()
    earliest = connection.execute("select min(inv_date_sk) from inventory").fetchone()[0]
    first = row[0] if row[0] is not None else earliest
    opening = connection.execute(
        "select max(inv_date_sk) from inventory where inv_date_sk <= $first",
        {"first": max(first, earliest)},
    ).fetchone()[0]
    return first, last, opening


def _write_network(connection: Any, directory: Path) -> None:
    """Warehouses and stores as nodes with their ZIP codes, items as they are sold."""
    connection.execute(
        f"""
        copy (
            select 'WAREHOUSE-' || w_warehouse_sk as node,
                   coalesce(w_warehouse_name, '') as display_name, 'WAREHOUSE' as type,
                   'US' as country_code, coalesce(w_zip, '') as postal_code
            from warehouse
            union all
            select 'STORE-' || lpad(s_store_sk::varchar, 2, '0'), coalesce(s_store_name, ''),
                   'STORE', 'US', coalesce(s_zip, '')
            from store
            order by 1
        ) to '{directory / "nodes.csv"}' (header)
        """
    )
    connection.execute(
        f"""
        copy (
            select 'ITEM-' || lpad(i_item_sk::varchar, 5, '0') as sku,
                   coalesce(i_product_name, '') as display_name,
                   (i_current_price * 100)::bigint as value_minor_units,
                   case when i_current_price is null then '' else 'USD' end as currency_code
            from item order by 1
        ) to '{directory / "items.csv"}' (header)
        """
    )


def _write_ship_modes(connection: Any, directory: Path) -> None:
    """Each ship mode as a carrier's service, with a near and a far price, and its days; an order
    that names one is shipped by no other."""
    modes = connection.execute(
        f"select {_SERVICE}, sm_carrier, trim(sm_type) from ship_mode order by 1"
    ).fetchall()
    nodes = connection.execute(
        "select 'WAREHOUSE-' || w_warehouse_sk from warehouse order by 1"
    ).fetchall()
    pickups = [{"node": node, "minute": _PICKUP_MINUTE} for (node,) in nodes]
    services = []
    for service, carrier, kind in modes:
        days = _DAYS[kind]
        near = _PARCEL_CENTS + _HASTE_CENTS // days
        far = near * _FAR_SHARE[0] // _FAR_SHARE[1]
        services.append(
            {
                "carrier_service": service,
                "carrier": _carrier_name(carrier),
                "currency_code": "USD",
                "lanes": [{"zone": "near", "distance_km_max": _NEAR_KM}, {"zone": "far"}],
                "rates": [
                    {"zone": zone, "weight_grams_max": 1_000, "price_minor_units": price}
                    for zone, price in (("near", near), ("far", far))
                ],
                "transits": [
                    {"zone": zone, "days_min": days, "days_max": days} for zone in ("near", "far")
                ],
                "pickups": pickups,
            }
        )
    carriers = [
        {"carrier": _carrier_name(carrier), "display_name": carrier}
        for carrier in sorted({carrier for _, carrier, _ in modes})
    ]
    rules = [
        {
            "name": service,
            "when": f'"ship_mode" in order.attributes && order.attributes.ship_mode == "{service}"',
            "vip_service": f'service.name == "{service}"',
        }
        for service, _, _ in modes
    ]
    # JSON is YAML.
    network = {
        "carriers": carriers,
        "carrier_services": services,
        "routing_rules": [{"routing_rules": "ship-modes", "yaml": json.dumps({"rules": rules})}],
    }
    (directory / "network.yaml").write_text(json.dumps(network, indent=1), encoding="utf-8")


def _carrier_name(text: str) -> str:
    return text.strip().lower().replace(" ", "-")


def _write_stock(connection: Any, opening: int, directory: Path) -> None:
    """The weekly inventory at the season's start: one count for each item at each warehouse.

    The weeks take turns with the items: where none lies before the start, the first one counts.
    """
    connection.execute(
        f"""
        copy (
            select 'ITEM-' || lpad(inv_item_sk::varchar, 5, '0') as sku,
                   'WAREHOUSE-' || inv_warehouse_sk as node,
                   coalesce(
                       arg_max(inv_quantity_on_hand, inv_date_sk)
                           filter (inv_date_sk <= {opening}),
                       arg_min(inv_quantity_on_hand, inv_date_sk),
                       0
                   ) as on_hand
            from inventory group by inv_item_sk, inv_warehouse_sk order by 1, 2
        ) to '{directory / "stock.csv"}' (header)
        """
    )


def _write_orders(connection: Any, first: int, orders: int, scale: float, directory: Path) -> None:
    connection.execute(
        f"""
        create temp table arrivals as
        select order_id, min((sold_day - {first}) * 86400 + sold_second)::bigint as arrival_s,
               count(*) as line_count, arg_min(ship_mode, item) as ship_mode,
               min(address) as address
        from lines where {_SOUND} group by 1 order by 2, 1
        """
    )
    # The latest `orders` of them, in the order of their arrival.
    connection.execute(
        f"""
        create temp table chosen as
        select * from (select * from arrivals order by arrival_s desc, order_id desc
                       limit {orders}) order by arrival_s, order_id
        """
    )
    heads = connection.execute(
        f"""
        select order_id, arrival_s, line_count, coalesce({_SERVICE}, '') as ship_mode,
               coalesce(ca_zip, '') as postal_code
        from chosen left join ship_mode on sm_ship_mode_sk = ship_mode
             left join customer_address on ca_address_sk = address
        order by arrival_s, order_id
        """
    ).fetchnumpy()
    lines = connection.execute(
        f"""
        select item, warehouse, quantity,
               coalesce((ship_day - {first})::bigint * 86400, -1) as ship_s,
               case when return_quantity is null or return_day is null then 0
                    else least(return_quantity, quantity) end as return_quantity,
               coalesce((return_day - {first})::bigint * 86400, -1) as return_s, return_damaged
        from lines join chosen using (order_id) where {_SOUND}
        order by arrival_s, order_id, item
        """
    ).fetchnumpy()
    skipped = connection.execute(f"select count(*) from lines where not ({_SOUND})").fetchone()[0]
    totals = connection.execute(
        "select (select count(distinct cs_order_number) from catalog_sales) + "
        "(select count(distinct ws_order_number) from web_sales)"
    ).fetchone()[0]
    columns: dict[str, Any] = {
        "order_id": heads["order_id"].astype("U"),
        "arrival_s": np.asarray(heads["arrival_s"], np.int64),
        "line_count": np.asarray(heads["line_count"], np.int64),
        "ship_mode": heads["ship_mode"].astype("U"),
        "postal_code": heads["postal_code"].astype("U"),
        "scale": np.float64(scale),
        "orders_total": np.int64(totals),
        "lines_skipped": np.int64(skipped),
    }
    for name, column in lines.items():
        columns[name] = np.asarray(column, bool if name == "return_damaged" else np.int64)
    np.savez(directory / "orders.npz", **columns)


def main() -> None:
    """``python -m holdfast.demo.generate --scale 1 --orders 20000 --directory DIR``."""
    parser = argparse.ArgumentParser(description="Make the demo's data.")
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    try:
        generate(given.scale, given.orders, given.directory)
    except (ImportError, RuntimeError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()

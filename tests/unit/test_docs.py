"""The pages say what the code says: settings, metrics, errors, limits, methods, commands, links.

Where a test here fails, code and page have parted: whoever changed the one changes the other.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main

from engine import limits
from engine.routing.plan import Status
from engine.routing.prices.decide import Mode as PriceMode
from engine.routing.solver import Strategy
from engine.state import Capacity, State
from holdfast import errors
from holdfast.cli import exits
from holdfast.cli.app import app
from holdfast.v1 import (
    admin_service_pb2,
    availability_service_pb2,
    errors_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
)
from server.admission.brownout import Brownout, Mode
from server.admission.classes import WorkClass
from server.admission.gradient_limit import GradientLimit, LimitSettings
from server.admission.limiter import Limiter
from server.admission.queues import Queue
from server.admission.quotas import Quotas
from server.admission.sale_stock import SaleStock
from server.admission.waiting_line import LineSettings, WaitingLine
from server.application.memory_claim import MemoryClaim
from server.application.solver_pool import SolverPool
from server.application.watch import WatchHub
from server.config import Config, flag
from server.ledger_metrics import LedgerMetrics
from server.metrics import Metrics
from server.routing.metrics import RoutingMetrics
from server.routing.prices.metrics import PriceMetrics
from server.routing.prices.source import PriceSettings
from server.transport.admission import Admission
from server.transport.errors import TABLE
from server.transport.turns import Line, Turns
from server.transport.wave_metrics import WaveMetrics
from server.verifications import Verifications

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "proto/README.md"])
SERVICES = (
    admin_service_pb2,
    availability_service_pb2,
    inventory_service_pb2,
    network_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    routing_service_pb2,
)
NOT_SENT = "not sent yet"
_BUILTIN = {"process", "python"}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def cells(row: str) -> list[str]:
    """The cells of one row of a table, without the marks of code."""
    parts = re.split(r"(?<!\\)\|", row.strip().strip("|"))
    return [part.strip().replace("\\|", "|") for part in parts]


def table(text: str, *header: str) -> list[list[str]]:
    """The rows of the one table whose header begins with these cells."""
    lines = text.splitlines()
    starts = [
        number
        for number, line in enumerate(lines)
        if line.startswith("|") and cells(line)[: len(header)] == list(header)
    ]
    assert len(starts) == 1, f"{len(starts)} tables begin with {header}"
    rows = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    assert rows
    return rows


def bare(cell: str) -> str:
    return cell.strip("`")


def names(cell: str) -> list[str]:
    """The names marked as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def as_documented(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def test_every_setting_has_its_flag_variable_and_default() -> None:
    told = {
        bare(name): (bare(option), bare(variable), bare(default))
        for name, option, variable, default, _ in table(page("operating.md"), "setting", "flag")
    }
    assert told == {
        item.name: (flag(item.name), f"HOLDFAST_{item.name.upper()}", as_documented(item.default))
        for item in fields(Config)
    }


def exported() -> Iterator[Any]:
    """The metric families of a server that was called once."""
    metrics = Metrics()
    stats = metrics.method("holdfast.v1.AdminService/GetStatus")
    stats.ended(0, 0.001)
    stats.items = 1
    metrics.refused("OVERLOADED")
    sequencer = SimpleNamespace(
        status=SimpleNamespace(value="serving"),
        state=State.create(Capacity.small()),
        journal=SimpleNamespace(loss_window_ms=0),
        commands_waiting=0,
        queue_ages_s=lambda: [0.0, 0.0, 0.0, 0.0],
        flight_age_s=lambda: 0.0,
    )
    # No server is both: this one has every metric there is.
    standby = SimpleNamespace(behind_s=lambda: 0.0, records_behind=0)
    gateway: Any = SimpleNamespace(
        sequencer=sequencer,
        standby=standby,
        phase=SimpleNamespace(value="serving"),
        now_ms=lambda: 0,
    )
    LedgerMetrics(gateway, WatchHub(watches_max=1), metrics, MemoryClaim())
    Verifications(gateway, metrics, interval_ms=0)
    routing = RoutingMetrics()
    routing.conflict("CAPACITY_EXHAUSTED")
    routing.solved(Strategy.EXACT, Status.OPTIMAL, 1, 0.0)
    metrics.add_gauges(routing.collect)
    metrics.add_gauges(PriceMetrics(PriceSettings(PriceMode.ON, 1, 1)).collect)
    metrics.add_gauges(WaveMetrics(SolverPool()).collect)
    limiter = Limiter(GradientLimit(LimitSettings()))
    brownout = Brownout(Mode.AUTO, lambda: False)
    queue = Queue("sale", ("SKU",), LineSettings())
    turns = Turns(gateway, [queue], b"")
    places = WaitingLine(queue.line, epoch=1, opened_ms=0)
    turns._lines[queue.name] = Line(queue, places, SaleStock(queue.skus), {})
    admission = Admission(gateway, limiter, Quotas(), brownout, turns=turns)
    admission.count_shed(WorkClass.RESERVE, "admission_limit")
    admission.count_quota("open_holds_max")
    metrics.add_gauges(admission.families)
    yield from metrics.registry.collect()


def test_every_metric_has_its_type_and_labels() -> None:
    suffixes = {"counter": "_total", "info": "_info"}
    found = {}
    for family in exported():
        if family.name.split("_")[0] in _BUILTIN:
            continue
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name + suffixes.get(family.type, "")] = (family.type, labels)
    told = {
        bare(name): (kind, set(labels.split(", ")) if labels else set())
        for name, kind, labels, _ in table(page("operating.md"), "metric", "type", "labels")
    }
    assert told == found


def test_every_metric_named_anywhere_is_exported() -> None:
    known = {bare(row[0]) for row in table(page("operating.md"), "metric", "type", "labels")}
    known |= {f"{name}_bucket" for name in known}
    for path in PAGES:
        named = set(re.findall(r"(?<!:)\bholdfast_[a-z_]+[a-z]\b(?![*/.])", path.read_text()))
        assert named <= known, path.name


def test_every_table_of_the_ledger_is_planned_for() -> None:
    told = [bare(row[0]) for row in table(page("operating.md"), "setting", "bytes a row")]
    sizes = [item.name for item in fields(Config) if hasattr(Capacity(), _capacity(item.name))]
    assert told == sizes


def _capacity(setting: str) -> str:
    """The field of Capacity behind a setting."""
    name = re.sub(r"(_remembered|_kept)?_max$", "", setting)
    return "name_bytes" if name == "names_bytes" else name


def test_every_error_of_the_one_table_is_documented() -> None:
    rows = table(page("api.md"), "code", "reason")
    told = {(row[0], row[1]): " ".join(row[2:]) for row in rows}
    assert len(told) == len(rows)
    sent = {(rule.code.name, rule.reason) for rule in TABLE.values()}
    assert sent - set(told) == set()
    assert {pair for pair in set(told) - sent if NOT_SENT not in told[pair]} == set()


def test_every_reason_of_the_contract_is_documented() -> None:
    told = {row[1] for row in table(page("api.md"), "code", "reason")}
    values = errors_pb2.ErrorReason.DESCRIPTOR.values
    reasons = {value.name.removeprefix("ERROR_REASON_") for value in values}
    assert told == reasons - {"UNSPECIFIED"}


def test_every_limit_has_its_value() -> None:
    told = {
        bare(name): int(value.replace(",", ""))
        for name, value, *_ in table(page("api.md"), "limit", "value")
    }
    assert told == {name: value for name, value in vars(limits).items() if isinstance(value, int)}


@pytest.mark.parametrize("module", SERVICES, ids=lambda module: module.__name__.split(".")[-1])
def test_every_method_is_documented(module: Any) -> None:
    for service in module.DESCRIPTOR.services_by_name.values():
        section = page("api.md").split(f"\n### {service.name}\n")[1].split("\n#")[0]
        told = [name for row in table(section, "method") for name in names(row[0])]
        assert sorted(told) == sorted(method.name for method in service.methods)


def test_every_command_and_exit_code_is_documented() -> None:
    command: Any = typer.main.get_command(app)
    rows = table(page("client.md"), "command", "example")
    assert sorted(bare(row[0]) for row in rows) == sorted(command.commands)
    for name, example, *_ in rows:
        assert bare(example).split()[:2] == ["holdfast", bare(name)]
    codes = {value for name, value in vars(exits).items() if name.isupper() and name[0] != "_"}
    assert {int(row[0]) for row in table(page("client.md"), "exit code")} == codes


def test_every_exception_is_documented() -> None:
    rows = table(page("client.md"), "class", "kinds")
    told = {name for row in rows for name in names("".join(row))}
    kinds = {
        kind.__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HoldfastError)
    }
    assert kinds - told == {"HoldfastError"}


def anchors(path: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?s)```.*?```", "", path.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_tests_that_show_a_fault_is_survived_are_there() -> None:
    shown = set(re.findall(r"`(tests/[^`]+)`", page("faults.md")))
    assert shown
    assert [name for name in sorted(shown) if not (ROOT / name).exists()] == []


def test_the_files_on_the_map_are_there() -> None:
    text = page("architecture.md")
    for folder in re.findall(r"(?m)^\| file in `([^`]+)` \|", text):
        for row in table(text, f"file in `{folder}`"):
            for name in names(row[0]):
                place = ROOT / folder / name
                assert list(place.parent.glob(f"{place.name}*")), f"{folder}{name}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/img/*.svg")), ids=lambda path: path.name)
def test_pictures_are_drawings_with_a_title_for_those_who_do_not_see_them(path: Path) -> None:
    drawing = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert drawing.tag == f"{space}svg"
    assert drawing.findtext(f"{space}title")
    assert drawing.findtext(f"{space}desc")

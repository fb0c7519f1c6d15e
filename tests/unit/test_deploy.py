"""The files of deployment agree with each other and with the server's settings."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from server import metrics

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVER = COMPOSE["services"]["holdfast"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
SCRAPES = PROMETHEUS["scrape_configs"]
OPERATING = (ROOT / "docs/operating.md").read_text()
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
RECORDING = (ROOT / "deploy/prometheus/recording.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy/grafana/dashboards/holdfast.json").read_text()
)
# What Prometheus and the client library export of any process and target.
OTHERS_METRICS = {
    *("up", "process_start_time_seconds", "process_resident_memory_bytes"),
    *("process_cpu_seconds_total", "process_open_fds"),
}


def image_environment() -> dict[str, str]:
    """The HOLDFAST_ variables of the final stage."""
    final = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    return dict(re.findall(r"\b(HOLDFAST_[A-Z_]+)=(\S+)", re.sub(r"(?m)^#.*$", "", final)))


def port_of(name: str) -> str:
    """The port that the compose file gives the server's setting `name`."""
    return str(SERVER["environment"][name]).rsplit(":", 1)[1]


def test_settings_of_image_and_compose_are_accepted_by_the_server(tmp_path: Path) -> None:
    config = pytest.importorskip("server.config")
    environment = {**image_environment(), **SERVER["environment"], "HOLDFAST_DATA": str(tmp_path)}
    loaded = config.load([], environment)
    assert (loaded.listen, loaded.metrics_listen) == ("0.0.0.0:7420", "0.0.0.0:9464")
    assert loaded.insecure
    assert loaded.log_format == "json"


def test_image_alone_listens_on_loopback() -> None:
    assert "HOLDFAST_LISTEN" not in image_environment()
    assert "HOLDFAST_INSECURE" not in image_environment()


def test_image_exposes_what_the_server_listens_on() -> None:
    exposed = set(re.findall(r"(?m)^EXPOSE (.+)$", DOCKERFILE)[-1].split())
    assert exposed == {port_of("HOLDFAST_LISTEN"), port_of("HOLDFAST_METRICS_LISTEN")}


def test_image_runs_as_nobody_special() -> None:
    user = re.findall(r"(?m)^USER (\d+):(\d+)$", DOCKERFILE)[-1]
    assert all(int(number) >= 10_000 for number in user)


def test_prometheus_scrapes_the_metrics_port_by_its_service_name() -> None:
    targets = [
        target
        for scrape in SCRAPES
        for conf in scrape["static_configs"]
        for target in conf["targets"]
    ]
    assert targets == [f"holdfast:{port_of('HOLDFAST_METRICS_LISTEN')}"]


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_ports_are_published_on_loopback_only(service: str) -> None:
    ports = COMPOSE["services"][service].get("ports", [])
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_named_volumes_are_declared_and_mounted_files_exist(service: str) -> None:
    for volume in COMPOSE["services"][service].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / "deploy" / source).exists()
        else:
            assert source in COMPOSE["volumes"]


def test_redis_syncs_every_append() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"


def test_server_gets_longer_to_stop_than_it_takes_to_drain(tmp_path: Path) -> None:
    config = pytest.importorskip("server.config")
    grace_ms = int(SERVER["stop_grace_period"].removesuffix("s")) * 1000
    assert grace_ms > config.load([], {"HOLDFAST_DATA": str(tmp_path)}).drain_ms_max


def every_rule(kind: str) -> list[dict[str, Any]]:
    """The rules of a kind, `alert` or `record`, of the files that Prometheus is told to read."""
    found = []
    for name in PROMETHEUS["rule_files"]:
        groups = yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text())["groups"]
        found += [rule for group in groups for rule in group["rules"] if kind in rule]
    assert found
    return found


def rules() -> list[dict[str, Any]]:
    """All alerting rules."""
    return every_rule("alert")


def exported_names() -> set[str]:
    """What the server exports, as the table of docs/operating.md has it, and what is recorded."""
    return set(re.findall(r"(?m)^\| `(holdfast_\w+)` \|", OPERATING))


def assert_only_known_metrics(expression: str) -> None:
    """Every name in a PromQL expression is a metric that exists, or one that is recorded."""
    recorded = {rule["record"] for rule in every_rule("record")}
    bare = re.sub(r'"[^"]*"', "", expression)
    for name in re.findall(r"\b[a-z_]+:[\w:]+", bare):
        assert name in recorded, name
    bare = re.sub(r"\b[a-z_]+:[\w:]+", "0", bare)
    assert bare.count("(") == bare.count(")")
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", "", bare)
    for word in set(re.findall(r"\b[a-z_]+\b(?!\s*\()", bare)) - {"or", "and", "by"}:
        if word not in OTHERS_METRICS:
            assert re.sub("_(bucket|count)$", "", word) in exported_names(), word


def documented_alerts() -> dict[str, str]:
    """Condition by name, as the table of docs/operating.md has them."""
    rows = re.findall(r"(?m)^\| `(Holdfast\w+)` \| `((?:\\\||[^`])+)`", OPERATING)
    assert rows
    return {name: condition.replace("\\|", "|") for name, condition in rows}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert_only_known_metrics(rule["expr"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


@pytest.mark.parametrize("rule", every_rule("record"), ids=lambda rule: str(rule["record"]))
def test_a_recording_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    assert_only_known_metrics(rule["expr"])


def assert_only_labels_it_has(expression: str) -> None:
    """Selectors of our own metrics name labels that these have, or that Prometheus adds."""
    labels = {
        name: set(cell.split(", "))
        for name, cell in re.findall(r"(?m)^\| `(holdfast_\w+)` \| \w+ \| ([^|]*?) \|", OPERATING)
    }
    for name, selector in re.findall(r"(holdfast_\w+)\{([^}]*)\}", expression):
        metric = re.sub("_(bucket|count)$", "", name)
        asked = set(re.findall(r"(\w+)!?=", selector))
        assert asked <= labels[metric] | {"instance", "job"} | ({"le"} if metric != name else set())


@pytest.mark.parametrize("rule", rules() + every_rule("record"), ids=lambda rule: str(rule["expr"]))
def test_labels_in_rules_are_ones_the_metric_has(rule: dict[str, Any]) -> None:
    assert_only_labels_it_has(rule["expr"])


def test_the_latency_objective_is_a_bound_of_the_histogram() -> None:
    bounds = {float(each) for each in re.findall(r'le="([^"]+)"', RECORDING)}
    assert bounds == {0.1}
    assert bounds <= set(metrics.SECONDS)


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that ask for something."""
    return [panel for panel in DASHBOARD["panels"] if panel.get("targets")]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5m")
        assert_only_known_metrics(expression)
        assert_only_labels_it_has(expression)
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", expression), label


def test_every_metric_of_overload_queues_and_routing_is_on_the_dashboard() -> None:
    """What an SRE looks at in a sale; others may be asked for by hand."""
    asked = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    families = (
        *("admission", "admitted", "shed", "brownout", "callers", "loop", "sold_out", "degraded"),
        *("quota", "place", "routing"),
    )
    expected = {
        name for name in exported_names() if name.removeprefix("holdfast_").startswith(families)
    }
    assert len(expected) > 20
    shown = set(re.findall(r"holdfast_\w+", asked))
    shown |= {re.sub("_(bucket|count)$", "", name) for name in shown}
    assert expected - shown == set()


def test_the_dashboard_is_what_its_program_writes() -> None:
    path = ROOT / "deploy/grafana/dashboard.py"
    spec = importlib.util.spec_from_file_location("dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboard"] = module
    spec.loader.exec_module(module)
    del sys.modules["dashboard"]
    assert (ROOT / "deploy/grafana/dashboards/holdfast.json").read_text() == module.text()


def test_no_two_panels_of_the_dashboard_overlap_and_none_is_too_wide() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafana_finds_the_data_source_that_the_panels_name() -> None:
    sources = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {
        source["uid"] for source in sources
    }
    provider = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/dashboards/holdfast.yml").read_text()
    )["providers"][0]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in mounts


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_its_place_in_the_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor == rule["alert"].lower()
    section = re.search(rf"(?ms)^## {rule['alert']}$(.*?)(?=^## |\Z)", RUNBOOK)
    assert section is not None
    for part in ("**Means:**", "**Look:**", "**Do:**"):
        assert part in section[1], part


def test_the_runbook_has_no_page_without_an_alert() -> None:
    told = set(re.findall(r"(?m)^## (Holdfast\w+)$", RUNBOOK))
    assert told == {rule["alert"] for rule in rules()}


def test_alerts_are_those_that_the_page_explains() -> None:
    told = documented_alerts()
    written = {rule["alert"]: rule["expr"] for rule in rules()}
    assert {name: " ".join(text.split()) for name, text in written.items()} == told


def test_prometheus_finds_its_rules_where_the_configuration_says() -> None:
    mounts = dict(
        volume.split(":")[:2]
        for volume in COMPOSE["services"]["prometheus"]["volumes"]
        if volume.startswith(".")
    )
    for name in PROMETHEUS["rule_files"]:
        assert mounts[f"./prometheus/{name}"] == f"/etc/prometheus/{name}"

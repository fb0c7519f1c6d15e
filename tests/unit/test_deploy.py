"""The files of deployment agree with each other and with the server's settings."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVER = COMPOSE["services"]["holdfast"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
SCRAPES = PROMETHEUS["scrape_configs"]
OPERATING = (ROOT / "docs/operating.md").read_text()
# What Prometheus and the client library export of any process and target.
OTHERS_METRICS = {"up", "process_start_time_seconds"}


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


def rules() -> list[dict[str, Any]]:
    """All alerting rules of the files that Prometheus is told to read."""
    found = []
    for name in PROMETHEUS["rule_files"]:
        groups = yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text())["groups"]
        found += [rule for group in groups for rule in group["rules"]]
    assert found
    return found


def documented_alerts() -> dict[str, str]:
    """Condition by name, as the table of docs/operating.md has them."""
    rows = re.findall(r"(?m)^\| `(Holdfast\w+)` \| `((?:\\\||[^`])+)`", OPERATING)
    assert rows
    return {name: condition.replace("\\|", "|") for name, condition in rows}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    expression = re.sub(r'"[^"]*"', "", rule["expr"])
    assert expression.count("(") == expression.count(")")
    exported = set(re.findall(r"(?m)^\| `(holdfast_\w+)` \|", OPERATING))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|by \([^)]*\)", "", expression)
    words = set(re.findall(r"\b[a-z_]+\b(?!\s*\()", bare)) - {"or", "and", "by"}
    assert words
    for word in words - OTHERS_METRICS:
        assert re.sub("_bucket$", "", word) in exported, word
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_labels_in_alerts_are_ones_the_metric_has(rule: dict[str, Any]) -> None:
    labels = {
        name: set(cell.split(", "))
        for name, cell in re.findall(r"(?m)^\| `(holdfast_\w+)` \| \w+ \| ([^|]*?) \|", OPERATING)
    }
    for name, selector in re.findall(r"(holdfast_\w+)\{([^}]*)\}", rule["expr"]):
        assert set(re.findall(r"(\w+)=", selector)) <= labels[name]


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

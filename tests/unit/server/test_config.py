"""Configuration: precedence, refusals that name source, key, value and what is allowed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from server.config import Config, ConfigError, flag, is_loopback, load, parser, split_address


def refused(arguments: list[str], environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(arguments, environment or {})
    return "\n".join(caught.value.problems)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "holdfast.toml"
    path.write_text('listen = "127.0.0.1:1"\nlog_level = "error"\nwatches_max = 7\n')
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path):
    config = load(
        ["--config", str(file), "--listen", "127.0.0.1:3"],
        {"HOLDFAST_LISTEN": "127.0.0.1:2", "HOLDFAST_LOG_LEVEL": "debug"},
    )
    assert (config.listen, config.log_level, config.watches_max) == ("127.0.0.1:3", "debug", 7)
    assert config.drain_ms_max == Config().drain_ms_max


def test_the_file_may_be_named_by_the_environment(file: Path):
    assert load([], {"HOLDFAST_CONFIG": str(file)}).watches_max == 7


def test_the_defaults_are_on_loopback_and_sound():
    config = load([], {})
    assert config == Config()
    assert is_loopback(split_address(config.listen)[0])
    assert config.journal_url.startswith("sqlite:///")
    assert config.capacity.positions == config.positions_max


def test_every_setting_has_a_flag_with_its_default_in_the_help():
    text = parser("holdfast serve").format_help()
    for item in fields(Config):
        assert flag(item.name) in text


@pytest.mark.parametrize(
    ("arguments", "environment", "parts"),
    [
        (["--drain-ms-max", "soon"], {}, ["flags", "--drain-ms-max", "'soon'", "0 to 600000"]),
        (["--drain-ms-max", "-1"], {}, ["--drain-ms-max", "'-1'"]),
        ([], {"HOLDFAST_LOG_FORMAT": "xml"}, ["environment", "HOLDFAST_LOG_FORMAT", "text, json"]),
        ([], {"HOLDFAST_INSECURE": "maybe"}, ["HOLDFAST_INSECURE", "true or false"]),
        ([], {"HOLDFAST_LISTN": "x"}, ["HOLDFAST_LISTN is unknown", "HOLDFAST_LISTEN?"]),
        (["--listne", "x"], {}, ["flags", "--listne"]),
        (["--listen", "localhost"], {}, ["--listen", "host:port"]),
        (["--listen", "1.2.3.4:99999"], {}, ["--listen", "99999"]),
        (["--listen", "[::1"], {}, ["--listen"]),
        (["--journal", "postgres://x/y"], {}, ["--journal", "sqlite:///PATH"]),
        (["--requests-remembered-max", "1000"], {}, ["a power of two"]),
        (["--config", "/nowhere/holdfast.toml"], {}, ["file /nowhere/holdfast.toml", "No such"]),
        (["--tls-certificate", "/nowhere.pem"], {}, ["tls_certificate", "no such file", "tls_key"]),
    ],
)
def test_what_is_refused_says_where_and_why(
    arguments: list[str], environment: dict[str, str], parts: list[str]
):
    text = refused(arguments, environment)
    for part in parts:
        assert part in text


def test_a_file_with_unknown_keys_and_wrong_types(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text('lisen = "x"\nwatches_max = "many"\ninsecure = 1\n[tls]\nkey = "k"\n')
    text = refused(["--config", str(path)])
    for part in ("lisen is unknown; did you mean listen?", "watches_max", "insecure", "tls is"):
        assert part in text


def test_a_file_that_is_no_toml(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"listen = \xff")
    assert "is not TOML" in refused(["--config", str(path)])


def test_everything_wrong_is_told_at_once():
    text = refused(["--log-level", "loud"], {"HOLDFAST_WATCHES_MAX": "0", "HOLDFAST_X": "1"})
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("setting", ["listen", "settle_listen"])
@pytest.mark.parametrize("address", ["0.0.0.0:7420", "10.1.2.3:7420", "[::]:7420", "shop.lan:7420"])
def test_plaintext_never_leaves_loopback_unasked(setting: str, address: str):
    told = [f"--{setting.replace('_', '-')}", address]
    text = refused(told)
    assert f"{setting} = {address!r}" in text
    assert "--insecure" in text
    assert getattr(load([*told, "--insecure"], {}), setting) == address


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "10.1.2.3:9464", "shop.lan:9464"])
def test_metrics_are_plain_http_on_any_address_without_leave(address: str):
    """They are numbers; nothing can be changed through them, as SECURITY.md says."""
    assert load(["--metrics-listen", address], {}).metrics_listen == address


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:1", "[::1]:7420", "127.8.9.1:1"])
def test_loopback_needs_no_leave(address: str):
    assert load(["--listen", address], {}).listen == address


def test_half_of_tls_is_refused(tmp_path: Path):
    path = tmp_path / "some.pem"
    path.write_text("x")
    assert "one is given without the other" in refused(["--tls-certificate", str(path)])
    assert "tls_client_ca" in refused(["--tls-client-ca", str(path)])


def test_dual_prices_need_somebody_to_solve_them():
    asked = ["--routing-prices", "shadow", "--routing-prices-from", "duals"]
    assert load(asked, {}).routing_prices_from == "duals"
    text = refused([*asked, "--solvers", "0"])
    assert "routing_prices_from = 'duals' with solvers = 0" in text
    for part in ("solvers of 1 or more", "routing_prices_from = 'pace'", "routing_prices = 'off'"):
        assert part in text
    # Where nobody looks at prices, nobody solves them.
    assert load(["--routing-prices-from", "duals", "--solvers", "0"], {}).solvers == 0
    text = refused(["--routing-prices-from", "dual"])
    assert "--routing-prices-from = 'dual' is not allowed; allowed: one of pace, duals" in text


def test_data_must_be_a_directory(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("x")
    assert "is not a directory" in refused(["--data", str(path)])


def test_what_kubernetes_and_the_client_put_there_is_let_alone():
    environment = {
        "HOLDFAST_SERVICE_HOST": "10.0.0.1",
        "HOLDFAST_PORT": "tcp://10.0.0.1:7420",
        "HOLDFAST_PORT_7420_TCP_ADDR": "10.0.0.1",
        "HOLDFAST_TARGET": "127.0.0.1:7420",
        "PATH": "/bin",
    }
    assert load([], environment) == Config()


def test_switches_can_be_turned_off_again():
    assert not load(["--no-reflection"], {"HOLDFAST_REFLECTION": "yes"}).reflection
    assert load([], {"HOLDFAST_REFLECTION": "1"}).reflection

"""What the server may be told: one frozen `Config`, from flags, environment and a TOML file.

Owns the list of settings. Each is a field of `Config` and nothing else: its flag is
``--tls-key``, its environment variable ``HOLDFAST_TLS_KEY``, its key in the file ``tls_key``.

Invariants
1. Flags win over the environment, the environment over the file, the file over the defaults.
2. A key that does not exist and a value that is not allowed are refused, wherever they come
   from, naming source, key, value and what is allowed; all of them at once.
3. A `Config` that exists is sound: plaintext never leaves loopback without ``insecure``, and the
   files of TLS are there.

Callers: `server.__main__` and the command line's ``serve`` read it, `server.lifecycle` obeys it.
"""

from __future__ import annotations

import argparse
import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from engine.state import Capacity
from server.admission.queues import read_queues
from server.admission.quotas import read_quotas
from server.admission.scopes import read_scopes
from server.admission.settings_file import FileRefused

PREFIX = "HOLDFAST_"

# Variables of the same prefix that are meant for others. Kubernetes puts the address of a service
# named "holdfast" into every container's environment under these names.
_OTHERS_PREFIXES = ("HOLDFAST_SERVICE_", "HOLDFAST_PORT", "HOLDFAST_CLIENT_")
_OTHERS = frozenset({"HOLDFAST_TARGET", "HOLDFAST_TIMEOUT"})  # the client's


class ConfigError(ValueError):
    """The configuration is refused; ``problems`` holds one sentence for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a value is read from text, and from TOML. ``parse`` raises ValueError when it can't."""

    parse: Callable[[str], Any]
    allowed: str
    toml: tuple[type, ...] = (str,)


def _boolean(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "on": True}
    values |= {"0": False, "false": False, "no": False, "off": False}
    return values[text.strip().lower()]


def _whole(low: int, high: int, unit: str) -> _Kind:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return _Kind(parse, f"a whole number of {unit}, {low} to {high}", (int,))


def _zero_or(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value and not low <= value <= high:
            raise ValueError(text)
        return value

    return parse


def _choice(*values: str) -> _Kind:
    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return _Kind(parse, "one of " + ", ".join(values))


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as (host, port). Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(text)
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if ":" in host or any(character.isspace() for character in host):
        raise ValueError(text)
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str) -> str:
    split_address(text)
    return text


def _address_or_off(text: str) -> str:
    return "" if text in ("", "off") else _address(text)


def _journal_url(text: str) -> str:
    parts = urlsplit(text)
    is_file = parts.scheme == "sqlite" and not parts.netloc and bool(parts.path.strip("/"))
    # What a Redis URL says further is read, and refused, where the journal is opened.
    if text and not is_file and not (parts.scheme in ("redis", "rediss") and parts.netloc):
        raise ValueError(text)
    return text


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(text)
    return Path(text).expanduser()


def _path_or_none(text: str) -> Path | None:
    return _path(text) if text else None


_SWITCH = _Kind(_boolean, "true or false", (bool,))
_PATH = _Kind(_path_or_none, "a path, or empty for none")
_ADDRESS = _Kind(_address, "host:port or [v6 address]:port, port 0 to 65535 (0: any free one)")


def _setting(default: Any, kind: _Kind, text: str) -> Any:
    return field(default=default, metadata={"kind": kind, "help": text})


_ROOM = Capacity()
_ROWS_MIN, _ROWS_MAX = 1 << 10, 1 << 30


def _table(name: str, text: str) -> Any:
    kind = _whole(_ROWS_MIN, _ROWS_MAX, "rows")
    return _setting(getattr(_ROOM, name), kind, f"room for {text}; room not used costs no memory")


def _ring(name: str, text: str) -> Any:
    def parse(value: str) -> int:
        rows = int(value)
        if not _ROWS_MIN <= rows <= _ROWS_MAX or rows & (rows - 1):
            raise ValueError(value)
        return rows

    allowed = f"a power of two from {_ROWS_MIN} to {_ROWS_MAX}"
    return _setting(getattr(_ROOM, name), _Kind(parse, allowed, (int,)), f"most {text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything the server was told. Times in milliseconds, sizes in bytes."""

    listen: str = _setting("127.0.0.1:7420", _ADDRESS, "address of the gRPC listener")
    settle_listen: str = _setting(
        "",
        _Kind(_address_or_off, "host:port, or off"),
        "address of a second gRPC listener, for confirmations and cancellations alone; off: none",
    )
    metrics_listen: str = _setting(
        "127.0.0.1:9464",
        _Kind(_address_or_off, "host:port, or off"),
        "address of the Prometheus listener (plain HTTP, no caller is asked who it is), or off",
    )
    data: Path = _setting(
        Path("holdfast-data"),
        _Kind(_path, "a path"),
        "directory of the journal and its snapshots; made when missing",
    )
    journal: str = _setting(
        "",
        _Kind(
            _journal_url,
            "sqlite:///PATH, redis://HOST:PORT/DB, rediss://HOST:PORT/DB, or empty for "
            "journal.sqlite3 in the data directory",
        ),
        "where the journal lies",
    )
    standby: bool = _setting(
        False, _SWITCH, "follow the journal while another server owns it, and take over from it"
    )
    standby_reads: bool = _setting(
        False, _SWITCH, "answer reads while standing by, from a state that is a little behind"
    )
    tls_certificate: Path | None = _setting(
        None, _PATH, "PEM file of the server's certificate chain; reloaded when it changes"
    )
    tls_key: Path | None = _setting(
        None, _PATH, "PEM file of the certificate's private key; reloaded when it changes"
    )
    tls_client_ca: Path | None = _setting(
        None, _PATH, "PEM file of the authorities that sign callers: a caller must then show one"
    )
    insecure: bool = _setting(
        False, _SWITCH, "serve plaintext on an address that other machines can reach"
    )
    reflection: bool = _setting(False, _SWITCH, "serve gRPC reflection")
    channelz: bool = _setting(False, _SWITCH, "serve gRPC channelz")
    uvloop: bool = _setting(
        True, _SWITCH, "run on uvloop, where it is installed, instead of asyncio's own event loop"
    )
    log_format: str = _setting("text", _choice("text", "json"), "form of the log's lines")
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "least severe lines that are logged"
    )
    log_requests: bool = _setting(False, _SWITCH, "log one line for every call")
    concurrent_calls_max: int = _setting(
        10_000,
        _whole(16, 1_000_000, "calls"),
        "calls under way at once; beyond it gRPC answers RESOURCE_EXHAUSTED",
    )
    pending_calls_max: int = _setting(
        48,
        _Kind(
            _zero_or(16, 100_000), "0 (no limit), or a whole number of calls, 16 to 100000", (int,)
        ),
        "calls of a method that may wait to be looked at; gRPC ends some from 3/4 of it on, all "
        "beyond",
    )
    connection_streams_max: int = _setting(
        256,
        _whole(1, 10_000, "calls"),
        "calls and streams at once on one connection; further ones wait at the caller",
    )
    connection_idle_ms_max: int = _setting(
        900_000,
        _Kind(_zero_or(1_000, 86_400_000), "0 (never), or milliseconds, 1000 to 86400000", (int,)),
        "how long a connection without calls is kept",
    )
    connection_age_ms_max: int = _setting(
        3_600_000,
        _Kind(_zero_or(1_000, 86_400_000), "0 (never), or milliseconds, 1000 to 86400000", (int,)),
        "how old a connection grows before its caller is asked for a new one",
    )
    admission_calls_min: int = _setting(
        128, _whole(1, 100_000, "calls"), "calls under way that admission never falls below"
    )
    admission_calls_max: int = _setting(
        1_024,
        _whole(1, 1_000_000, "calls"),
        "calls under way at most, of all classes; beyond it a call is answered OVERLOADED",
    )
    admission_delay_ms: int = _setting(
        50,
        _whole(1, 60_000, "milliseconds"),
        "how long the ledger's answers may take before fewer calls are let in",
    )
    quotas: Path | None = _setting(None, _PATH, "TOML file of what each caller may have")
    scopes: Path | None = _setting(
        None, _PATH, "TOML file of what each caller may do; without it everybody may do everything"
    )
    queues: Path | None = _setting(
        None, _PATH, "TOML file of the SKUs that have a waiting queue, and how it moves"
    )
    brownout: str = _setting(
        "auto",
        _choice("auto", "on", "off"),
        "cheaper answers (availability read a moment ago, plans by rule of thumb): under load, "
        "always, never",
    )
    sold_out_early: str = _setting(
        "off",
        _choice("off", "auto", "on"),
        "answer that a SKU is sold out before the ledger is asked, remembered until the server "
        "ends: never, in a brown-out, always",
    )
    degraded_age_ms_max: int = _setting(
        1_000,
        _whole(10, 60_000, "milliseconds"),
        "how old availability may be that is told in a brown-out",
    )
    queue_commands_max: int = _setting(
        65_536,
        _whole(16, 10_000_000, "commands"),
        "commands that may wait for the ledger; beyond it a call is answered OVERLOADED",
    )
    watches_max: int = _setting(
        1_000, _whole(1, 100_000, "streams"), "streams of WatchAvailability at once"
    )
    routing_decisions_max: int = _setting(
        20_000,
        _whole(1, 10_000_000, "decisions"),
        "decisions of PromiseOrder kept to be explained and repeated, some 2 kB each",
    )
    routing_prices: str = _setting(
        "off",
        _choice("off", "shadow", "on"),
        "opportunity prices, which keep scarce stock for those who have no other node",
    )
    routing_prices_from: str = _setting(
        "pace",
        _choice("pace", "duals"),
        "where opportunity prices are from: how fast each position sells, or dual prices solved "
        "anew every 50 promises by the processes that solve waves",
    )
    routing_price_scale: int = _setting(
        500,
        _whole(1, 10_000_000, "minor units"),
        "what shipping from another node costs more at most, about; no price goes above it",
    )
    routing_price_horizon_s: int = _setting(
        604_800,
        _whole(60, 31_536_000, "seconds"),
        "how often stock is replenished, for opportunity prices",
    )
    solvers: int = _setting(
        1,
        _whole(0, 256, "processes"),
        "processes that solve waves (PlanOrders) and dual prices; 0: waves are routed one order "
        "after another",
    )
    solver_start: str = _setting(
        "first_wave",
        _choice("first_wave", "at_start"),
        "when solvers are started: by the first wave, which may wait for them, or at the start",
    )
    solver_memory_bytes_max: int = _setting(
        4 << 30,
        _whole(1 << 29, 1 << 40, "bytes"),
        "address space of one solver; beyond it it ends and is replaced",
    )
    solver_waves_max: int = _setting(
        200, _whole(1, 1_000_000, "waves"), "a solver is replaced after this many waves"
    )
    waves_waiting_max: int = _setting(
        4,
        _whole(0, 1_000, "waves"),
        "waves beyond one for each solver; beyond it PlanOrders is answered OVERLOADED",
    )
    drain_ms_max: int = _setting(
        8_000,
        _whole(0, 600_000, "milliseconds"),
        "how long calls under way may still take once the server is told to stop",
    )
    snapshot_commands: int = _setting(
        1_000_000,
        _whole(1_000, 1_000_000_000, "commands"),
        "a snapshot is written after this many commands",
    )
    verify_interval_ms: int = _setting(
        600_000,
        _whole(0, 86_400_000, "milliseconds"),
        "between two verifications of all balances beside the traffic; 0: only when asked for",
    )

    claim_memory: bool = _setting(
        False, _SWITCH, "have the memory of all tables in the first seconds, not row by row"
    )
    positions_max: int = _table("positions", "positions (a SKU at a node, a supply, a limit)")
    names_max: int = _table("names", "SKUs, nodes, owners with limits and other names")
    names_bytes_max: int = _table("name_bytes", "bytes of all names")
    group_members_max: int = _table("group_members", "nodes of all node groups")
    reservations_max: int = _table("reservations", "reservations, ended ones that are kept too")
    takes_max: int = _table("takes", "takes of all reservations")
    supplies_max: int = _table("supplies", "incoming supplies, received ones too")
    requests_remembered_max: int = _ring("requests", "answers remembered for repeated requests")
    reply_details_kept_max: int = _ring("reply_details", "lines of the answers remembered")
    movements_kept_max: int = _ring("movements", "movements that can be listed")

    @property
    def capacity(self) -> Capacity:
        """Room of the ledger's tables."""
        return Capacity(
            positions=self.positions_max,
            names=self.names_max,
            name_bytes=self.names_bytes_max,
            group_members=self.group_members_max,
            reservations=self.reservations_max,
            takes=self.takes_max,
            supplies=self.supplies_max,
            requests=self.requests_remembered_max,
            reply_details=self.reply_details_kept_max,
            movements=self.movements_kept_max,
        )

    @property
    def journal_url(self) -> str:
        """The journal's URL, the default filled in."""
        if self.journal:
            return self.journal
        return f"sqlite://{quote(str((self.data / 'journal.sqlite3').absolute()))}"

    @property
    def is_tls(self) -> bool:
        """Whether the gRPC listener speaks TLS."""
        return self.tls_certificate is not None


_KINDS: dict[str, _Kind] = {item.name: item.metadata["kind"] for item in fields(Config)}


def _refused(source: str, key: str, value: object, allowed: str) -> str:
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:80] + "..."
    return f"{source}: {key} = {shown} is not allowed; allowed: {allowed}"


def _unknown(source: str, key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
    return f"{source}: {key} is unknown; {hint}"


def _from_text(
    source: str, key: str, name: str, text: str, found: dict[str, Any], problems: list[str]
) -> None:
    kind = _KINDS[name]
    try:
        found[name] = kind.parse(text)
    except (ValueError, KeyError):
        problems.append(_refused(source, key, text, kind.allowed))


def _from_file(path: Path, found: dict[str, Any], problems: list[str]) -> None:
    source = f"file {path}"
    try:
        with path.open("rb") as handle:
            table = tomllib.load(handle)
    except OSError as fault:
        problems.append(f"{source}: can not be read: {fault.strerror or fault}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        problems.append(f"{source}: is not TOML: {fault}")
        return
    for key, value in table.items():
        if key not in _KINDS:
            problems.append(_unknown(source, key, sorted(_KINDS)))
        elif type(value) not in _KINDS[key].toml:
            problems.append(_refused(source, key, value, _KINDS[key].allowed))
        else:
            _from_text(source, key, key, str(value), found, problems)


def _from_environment(
    environment: Mapping[str, str], found: dict[str, Any], problems: list[str]
) -> None:
    known = {PREFIX + name.upper(): name for name in _KINDS}
    for key, value in sorted(environment.items()):
        if not key.startswith(PREFIX) or key == f"{PREFIX}CONFIG":
            continue
        if key in _OTHERS or key.startswith(_OTHERS_PREFIXES):
            continue
        if key not in known:
            problems.append(_unknown("environment", key, sorted(known)))
        else:
            _from_text("environment", key, known[key], value, found, problems)


def flag(name: str) -> str:
    """The flag of the setting `name`."""
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    """Refuses in the one form every source has, instead of leaving the process."""

    def error(self, message: str) -> Any:
        raise ConfigError([f"flags: {message}"])


def parser(program: str) -> argparse.ArgumentParser:
    """The flags, for reading and for ``--help``. Values stay text: `load` checks them."""
    made = _Parser(
        prog=program,
        description="Serve the Holdfast ledger over gRPC.",
        epilog=f"Every flag is also a key of the file and, as {PREFIX}NAME, of the environment.",
        allow_abbrev=False,
    )
    made.add_argument("--config", metavar="FILE", help="TOML file of settings")
    for item in fields(Config):
        kind: _Kind = item.metadata["kind"]
        text = f"{item.metadata['help']} (default: {item.default})".replace("%", "%%")
        if kind is _SWITCH:
            action = argparse.BooleanOptionalAction
            made.add_argument(flag(item.name), action=action, default=None, help=text)
        else:
            made.add_argument(flag(item.name), metavar="VALUE", help=text)
    return made


def _from_flags(arguments: Mapping[str, Any], found: dict[str, Any], problems: list[str]) -> None:
    for name in _KINDS:
        value = arguments.get(name)
        if value is not None:
            _from_text("flags", flag(name), name, str(value), found, problems)


_FILES: Final[dict[str, Callable[[Path], object]]] = {
    "quotas": read_quotas,
    "scopes": read_scopes,
    "queues": read_queues,
}


def _contradictions(config: Config) -> list[str]:
    """What is wrong with settings that are each allowed."""
    problems = []
    for name in ("tls_certificate", "tls_key", "tls_client_ca", *_FILES):
        path: Path | None = getattr(config, name)
        if path is not None and not path.is_file():
            problems.append(f"{name} = {str(path)!r}: no such file")
    if (config.tls_certificate is None) != (config.tls_key is None):
        problems.append("tls_certificate and tls_key: one is given without the other")
    if config.tls_client_ca is not None and config.tls_certificate is None:
        problems.append(
            "tls_client_ca: callers can only be checked with tls_certificate and tls_key"
        )
    for name, reader in _FILES.items():
        path = getattr(config, name)
        if path is not None and path.is_file():
            try:
                reader(path)
            except FileRefused as fault:
                problems += [f"{name}: {line}" for line in str(fault).splitlines()]
    if config.admission_calls_min > config.admission_calls_max:
        problems.append(
            f"admission_calls_min = {config.admission_calls_min}: must not be above "
            f"admission_calls_max, {config.admission_calls_max}"
        )
    needs_solvers = config.routing_prices != "off" and config.routing_prices_from == "duals"
    if needs_solvers and not config.solvers:
        problems.append(
            "routing_prices_from = 'duals' with solvers = 0: nobody would solve these prices; "
            "allowed: solvers of 1 or more, routing_prices_from = 'pace', or routing_prices = 'off'"
        )
    for name in ("listen", "settle_listen"):
        address: str = getattr(config, name)
        if config.is_tls or config.insecure or not address:
            continue
        if is_loopback(split_address(address)[0]):
            continue
        problems.append(
            f"{name} = {address!r}: other machines can reach this address; allowed there: "
            "tls_certificate with tls_key, or plaintext with --insecure"
        )
    if config.data.exists() and not config.data.is_dir():
        problems.append(f"data = {str(config.data)!r}: is not a directory")
    return problems


def load(
    arguments: Sequence[str], environment: Mapping[str, str], *, program: str = "holdfast serve"
) -> Config:
    """The configuration of these flags, this environment and the file they name.

    Raises ConfigError with every problem found. ``--help`` prints and leaves the process.
    """
    parsed = vars(parser(program).parse_args(list(arguments)))
    found: dict[str, Any] = {}
    problems: list[str] = []
    path = parsed["config"] or environment.get(f"{PREFIX}CONFIG")
    if path:
        _from_file(Path(path), found, problems)
    _from_environment(environment, found, problems)
    _from_flags(parsed, found, problems)
    if problems:
        raise ConfigError(problems)
    config = Config(**found)
    problems = _contradictions(config)
    if problems:
        raise ConfigError(problems)
    return config

"""The flags that every command has which talks to a server, and the session they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from holdfast.channels import Address, Tls
from holdfast.cli import exits
from holdfast.cli.printing import Printer, complain
from holdfast.errors import HoldfastError
from holdfast.sync.client import Client

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
_PANEL = "Connection"

Target = Annotated[
    str,
    typer.Option(
        envvar="HOLDFAST_TARGET",
        metavar="HOST:PORT",
        help="The server. Default: 127.0.0.1:7420.",
        rich_help_panel=_PANEL,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        envvar="HOLDFAST_TIMEOUT",
        metavar="SECONDS",
        min=0.001,
        help="How long a call may take, retries included.",
        rich_help_panel=_PANEL,
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        envvar="HOLDFAST_CLIENT_TLS_CA",
        exists=True,
        dir_okay=False,
        help="Authorities that sign the server (PEM); turns TLS on.",
        rich_help_panel=_PANEL,
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-certificate",
        envvar="HOLDFAST_CLIENT_TLS_CERTIFICATE",
        exists=True,
        dir_okay=False,
        help="This caller's certificate (PEM), for servers that want one.",
        rich_help_panel=_PANEL,
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key",
        envvar="HOLDFAST_CLIENT_TLS_KEY",
        exists=True,
        dir_okay=False,
        help="The certificate's private key (PEM).",
        rich_help_panel=_PANEL,
    ),
]
UseTls = Annotated[
    bool,
    typer.Option("--tls", help="Use TLS with the system's authorities.", rich_help_panel=_PANEL),
]
TlsServerName = Annotated[
    str,
    typer.Option(
        "--tls-server-name",
        envvar="HOLDFAST_CLIENT_TLS_SERVER_NAME",
        help="The name in the server's certificate, where it is not that of the target.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

_FLAGS: dict[str, tuple[Any, Any]] = {
    "as_json": (AsJson, False),
    "target": (Target, ""),
    "timeout": (Timeout, 10.0),
    "tls": (UseTls, False),
    "tls_ca": (TlsCa, None),
    "tls_certificate": (TlsCertificate, None),
    "tls_key": (TlsKey, None),
    "tls_server_name": (TlsServerName, ""),
}


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    client: Client
    printer: Printer


def connected(command: FunctionT) -> FunctionT:
    """Give `command`, whose first parameter is a Session, the flags of connection and output.

    What the client raises becomes one line on standard error and an exit code.
    """
    signature = inspect.signature(command, eval_str=True)
    _, *own = signature.parameters.values()
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _FLAGS.items()
    ]

    @functools.wraps(command)
    def run(**options: Any) -> Any:
        given = {name: options.pop(name) for name in _FLAGS}
        address = Address.of(given["target"])
        try:
            with Client(address.target, tls=_tls(given), timeout=given["timeout"]) as client:
                return command(Session(client, Printer(as_json=given["as_json"])), **options)
        except HoldfastError as error:
            complain(exits.sentence_of(error, address.target))
            raise typer.Exit(exits.exit_code_of(error)) from None
        except ValueError as error:
            complain(str(error))
            raise typer.Exit(exits.USAGE) from None

    run.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *flags)} | {
        "return": None
    }
    return run  # type: ignore[return-value]


def _tls(given: dict[str, Any]) -> Tls | None:
    files = (given["tls_ca"], given["tls_certificate"], given["tls_key"])
    if not given["tls"] and not any(files):
        return None
    ca, certificate, key = files
    return Tls(ca=ca, certificate=certificate, key=key, server_name=given["tls_server_name"])

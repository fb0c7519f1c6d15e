"""TLS of the listener: certificates from files, read anew when the files change.

gRPC asks before every handshake; a look at the files' times answers. A pair that does not fit or
can not be read is refused and logged, and the one in use stays: a rotation that goes wrong half
way never takes the server down. Connections that stand are not affected.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from server.logs import get

_log = get("tls")

Stamp = tuple[tuple[int, int, int], ...]


class CertificateRefused(Exception):
    """The files are no certificate, key and authorities that belong together; says why."""

    @property
    def is_of_the_system(self) -> bool:
        """Whether they could not be read, which may pass without a change of theirs."""
        return isinstance(self.__cause__, OSError) and not isinstance(self.__cause__, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class _Loaded:
    stamp: Stamp
    configuration: Any  # grpc.ServerCertificateConfiguration


class Certificates:
    """The listener's certificates."""

    def __init__(
        self,
        certificate: Path,
        key: Path,
        client_ca: Path | None,
        *,
        on_reload: Callable[[bool], None] = lambda good: None,
    ) -> None:
        """Read them. `on_reload` hears of every later change, True when it is in use.

        Raises CertificateRefused.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._on_reload = on_reload
        self._refused: Stamp | None = None
        self._told: Stamp | None = None
        self._loaded = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """What the listener is made with. A client CA makes a caller's certificate mandatory."""
        made: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._loaded.configuration,
            self.changed,
            require_client_authentication=self._client_ca is not None,
        )
        return made

    def changed(self) -> Any:
        """The new configuration when the files changed, else None. Runs on gRPC's threads."""
        try:
            stamp = self._stamp()
        except OSError:
            return None  # between two steps of whoever replaces them
        if stamp in (self._loaded.stamp, self._refused):
            return None
        try:
            self._loaded = self._load()
        except CertificateRefused as fault:
            self._refused = None if fault.is_of_the_system else stamp
            if self._told != stamp:
                self._told = stamp
                _log.error(
                    "changed certificate refused, the old one stays in use", reason=str(fault)
                )
                self._on_reload(False)
            return None
        self._refused = self._told = None
        _log.info("certificate reloaded", certificate=str(self._certificate))
        self._on_reload(True)
        return self._loaded.configuration

    def _paths(self) -> list[Path]:
        paths = [self._certificate, self._key]
        return [*paths, self._client_ca] if self._client_ca is not None else paths

    def _stamp(self) -> Stamp:
        found = []
        for path in self._paths():
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def _load(self) -> _Loaded:
        """Read and check the files; OpenSSL says whether key and certificate belong together."""
        try:
            stamp = self._stamp()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
            contents = [path.read_bytes() for path in self._paths()]
            if self._stamp() != stamp:
                raise CertificateRefused("the files change while they are read")
        except (OSError, ssl.SSLError, ValueError) as fault:
            names = ", ".join(str(path) for path in self._paths())
            raise CertificateRefused(f"{names}: {fault}") from fault
        configuration = grpc.ssl_server_certificate_configuration(
            [(contents[1], contents[0])], contents[2] if self._client_ca is not None else None
        )
        return _Loaded(stamp, configuration)


def _no_password() -> str:
    raise ValueError("the key needs a password: give one without")

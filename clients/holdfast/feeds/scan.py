"""One pass over a file before it is read: its digest, its size, whether it is UTF-8.

The digest names the feed, so that the same file is the same feed, whatever it is called.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from holdfast.feeds.problems import FileProblem

_CHUNK_BYTES = 1 << 20
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Scan:
    """What the pass found."""

    path: Path
    digest: str
    """SHA-256 in hexadecimal."""
    size_bytes: int
    is_parquet: bool
    is_utf8: bool


def scan(path: Path) -> Scan:
    """Read `path` once. Raises FileProblem when it can not be read or is empty."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, size_bytes, head = True, 0, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                head = head or chunk[: len(_PARQUET_MAGIC)]
                size_bytes += len(chunk)
                digest.update(chunk)
                is_utf8 = is_utf8 and _decodes(decoder, chunk)
    except OSError as error:
        raise FileProblem(f"{path}: {error.strerror or error}") from error
    if size_bytes == 0:
        raise FileProblem(f"{path} is empty: a header and at least one row are needed")
    is_utf8 = is_utf8 and _decodes(decoder, b"", final=True)
    return Scan(path, digest.hexdigest(), size_bytes, head == _PARQUET_MAGIC, is_utf8)


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True

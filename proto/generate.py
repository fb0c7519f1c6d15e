"""Writes the Python stubs of proto/ into clients/holdfast/v1, and a descriptor set.

Owns: everything in clients/holdfast/v1 (not committed; `make proto` and every
build of the package write it) and build/descriptor.binpb.

Runs with nothing but the build requirements of pyproject.toml installed, because
package builds call it in an environment of their own.
"""

import shutil
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
STUBS = ROOT / "clients" / "holdfast" / "v1"
DESCRIPTOR = ROOT / "build" / "descriptor.binpb"
INIT = '"""The wire contract holdfast.v1: generated from proto/, never edited."""\n'


def sources() -> list[Path]:
    """The contract's files, in one order on every machine."""
    return sorted((PROTO / "holdfast" / "v1").glob("*.proto"))


def includes() -> list[str]:
    """Folders that imports are found in: ours, with google/rpc in it, and protobuf's own."""
    bundled = Path(grpc_tools.__file__).parent / "_proto"
    return [f"-I{PROTO}", f"-I{bundled}"]


def plugin(name: str) -> str:
    """Where a protoc plugin lies: beside this interpreter, or (in an isolated build) on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed: it comes with the package mypy-protobuf")
    return f"--plugin={name}={found}"


def is_fresh(inputs: list[Path]) -> bool:
    """Whether every output is there, none is left over, and none is older than an input."""
    expected = [STUBS / f"{path.stem}_pb2.py" for path in inputs]
    outputs = [*expected, STUBS / "__init__.py", DESCRIPTOR]
    if not all(path.exists() for path in outputs):
        return False
    if set(STUBS.glob("*_pb2.py")) != set(expected):
        return False
    newest_input = max(path.stat().st_mtime for path in [*inputs, Path(__file__)])
    return min(path.stat().st_mtime for path in outputs) >= newest_input


def generate(inputs: list[Path]) -> None:
    """Runs protoc into an empty folder, then puts that folder in the stubs' place."""
    staging = ROOT / "build" / "stubs"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    code = protoc.main(
        [
            "protoc",
            *includes(),
            plugin("protoc-gen-mypy"),
            plugin("protoc-gen-mypy_grpc"),
            f"--python_out={staging}",
            f"--grpc_python_out={staging}",
            f"--mypy_out=quiet:{staging}",
            f"--mypy_grpc_out=quiet:{staging}",
            f"--descriptor_set_out={staging / 'descriptor.binpb'}",
            "--include_imports",
            "--include_source_info",
            *(str(path) for path in inputs),
        ]
    )
    if code != 0:
        raise SystemExit(f"protoc refused the contract (exit code {code}); see its message above")
    made = staging / "holdfast" / "v1"
    (made / "__init__.py").write_text(INIT)
    (made / "py.typed").touch()
    # Replaced name by name: another process may be importing the old files,
    # and a rename is the only write it can never see half of.
    STUBS.mkdir(parents=True, exist_ok=True)
    for path in made.iterdir():
        path.replace(STUBS / path.name)
    keep = {f"{path.stem}{end}" for path in inputs for end in ("_pb2", "_pb2_grpc")}
    for path in STUBS.glob("*_pb2*"):
        if path.name.split(".")[0] not in keep:
            path.unlink()
    (staging / "descriptor.binpb").replace(DESCRIPTOR)
    shutil.rmtree(staging)


def main() -> None:
    """Generates when something changed; `--force` always does."""
    inputs = sources()
    if not inputs:
        print("proto/holdfast/v1 holds no .proto file yet: no stubs written", file=sys.stderr)
        return
    if "--force" in sys.argv[1:] or not is_fresh(inputs):
        generate(inputs)
        print(f"wrote {STUBS.relative_to(ROOT)} from {len(inputs)} files")


if __name__ == "__main__":
    main()

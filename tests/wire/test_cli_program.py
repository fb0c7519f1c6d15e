"""The program as a process: what only shows there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.client_server import RunningServer

pytestmark = pytest.mark.wire

# As the installed script does it.
PROGRAM = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'holdfast'; import holdfast_script; holdfast_script.main()",
]


def run(
    *arguments: str, timeout_s: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        timeout=timeout_s,
    )


def test_version_and_help():
    assert run("--version").stdout.startswith("holdfast 0.")
    said = run("--help").stdout
    assert "Exit codes: 0 done" in said
    for command in ["serve", "load", "reserve", "confirm", "cancel", "availability", "watch"]:
        assert f"  {command} " in said


def test_serve_has_the_flags_of_the_server():
    said = run("serve", "--help")
    assert said.returncode == 0
    assert "--tls-certificate" in said.stdout
    assert said.stdout.startswith("usage: holdfast serve")


def test_serve_refuses_bad_flags_in_one_line_each():
    done = run("serve", "--listen", "nowhere", "--no-such-flag")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "holdfast serve: " in done.stderr


def test_the_clients_variables_do_not_trouble_the_server():
    done = run(
        "serve",
        "--listen",
        "0.0.0.0:0",
        HOLDFAST_TARGET="x:1",
        HOLDFAST_CLIENT_TLS_CA="ca.pem",
        HOLDFAST_TIMEOUT="3",
    )
    assert done.returncode == 2  # for the address alone
    assert "HOLDFAST_" not in done.stderr


@pytest.mark.timeout(400)  # where the kernels are not compiled yet, that comes first
def test_serve_is_started_served_and_stopped(tmp_path: Path, unused_tcp_port: int):
    target = f"127.0.0.1:{unused_tcp_port}"
    flags = ["--listen", target, "--metrics-listen", "off", "--data", str(tmp_path / "data")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*PROGRAM, "serve", *flags], stdout=log, stderr=log)
        try:
            healthy = run("health", "--target", target, "--wait", "300", timeout_s=330)
            assert healthy.returncode == 0, healthy.stderr + (tmp_path / "log").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    said = (tmp_path / "log").read_text().splitlines()
    assert all(line.startswith("timestamp=") for line in said), said  # nothing of gRPC's core
    assert run("health", "--target", target, "--timeout", "0.3").returncode == 4


def test_a_reader_that_goes_away_causes_no_complaint(tmp_path: Path):
    with RunningServer(tmp_path) as server:
        process = subprocess.Popen(
            [*PROGRAM, "status", "--target", server.target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        process.wait(60)
    assert said == b""


def test_an_interrupted_watch_ends_quietly(tmp_path: Path):
    with RunningServer(tmp_path) as server:
        import holdfast

        with holdfast.Client(server.target, timeout=20) as client:
            client.nodes.upsert(holdfast.Node("WH-1"))
            client.items.upsert(holdfast.Item("SKU-1"))
            client.count([holdfast.Count("SKU-1", "WH-1", 3)])
        process = subprocess.Popen(
            [*PROGRAM, "watch", "SKU-1", "--json", "--target", server.target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == b""

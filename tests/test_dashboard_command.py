"""`dashboard`: starts TensorBoard, says where, ends with Ctrl-C; and one line for what cannot be shown."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from rankscope.callbacks import EventWriter
from rankscope.callbacks.tensorboard.dashboard import dashboard_layout
from rankscope.commands import cli as front_door

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    """Two runs of one curve, with the layout of a model of attention."""
    for name, rank in (("wd_attn=0", 0.9), ("wd_attn=1", 0.3)):
        events = EventWriter(tmp_path / "runs" / name)
        events.layout(dashboard_layout(["qk", "vo"]))
        events.scalars(0, {"pseudo_rank/qk/mean": 0.94})
        events.scalars(10, {"pseudo_rank/qk/mean": rank})
        events.close()
    return tmp_path / "runs"


def refused(*arguments):
    result = CliRunner().invoke(front_door.cli, ["dashboard", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_no_folder(tmp_path):
    assert (
        refused(tmp_path / "nowhere")
        == f"Error: There is no folder {tmp_path}/nowhere. Name a run, or a folder of runs"
    )


def test_a_folder_without_runs(tmp_path):
    assert refused(tmp_path) == (
        f"Error: There are no event files at or below {tmp_path}. Make some with: rankscope fit vit"
    )


def test_a_taken_port(folder, run_cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("dashboard", folder, "--port", port, check=False)
    assert done.returncode == 2
    remedy = f"Choose another: --port {port + 1}, or 0 for any"
    assert done.stderr == f"Error: Port {port} is taken, perhaps by another dashboard. {remedy}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "port", "message"),
    [
        (
            "print('Permission denied', file=sys.stderr); sys.exit(1)",
            81,
            "TensorBoard does not start at port 81: Permission denied",
        ),
        (
            "raise program.TensorBoardPortInUseError('taken')",
            65535,
            "Port 65535 is taken, perhaps by another dashboard. Choose another: --port 65534, or 0 for any",
        ),
    ],
    ids=["not for us", "the last one"],
)
def test_ports_that_cannot_be_had(folder, server, port, message):
    """TensorBoard's server prints that a port is not for everybody, and exits."""
    script = (
        "import importlib, sys\nprogram = importlib.import_module('tensorboard.program')\n"
        f"def refuse(*_): {server}\n"
        "program.create_port_scanning_werkzeug_server = refuse\n"
        f"sys.argv[1:] = ['dashboard', {str(folder)!r}, '--port', '{port}']\n"
        "from rankscope.commands.cli import cli; cli()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"Error: {message}"
    assert "Traceback" not in done.stderr


def test_files_without_an_event_are_none(tmp_path):
    (tmp_path / "events.out.tfevents.1").touch()
    (tmp_path / "events.out.tfevents.2").mkdir()
    assert refused(tmp_path).startswith(f"Error: There are no event files at or below {tmp_path}.")


def test_tensorboard_is_missing(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    line = refused(folder)
    assert line.startswith("Error: TensorBoard is not installed (")
    assert line.endswith("pip install -c constraints.txt -e .")


def children_of(process):
    """Processes that a process has started, its threads' too."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_it_shows_the_runs_and_leaves_no_process(folder, start_cli, end):
    process = start_cli("dashboard", folder, "--port", 0)
    line = process.stdout.readline()
    assert line.startswith(f"{folder} at http://127.0.0.1:"), process.stderr.read()
    address = line.split(" at ")[1].strip().removesuffix("ranks")
    assert json.load(urllib.request.urlopen(f"{address}data/runs")) == ["wd_attn=0", "wd_attn=1"]
    curve = "data/plugin/custom_scalars/scalars?run=wd_attn%3D1&tag=pseudo_rank/qk/mean"
    (points,) = json.load(urllib.request.urlopen(address + curve))["tag_to_events"].values()
    assert [point[1:] for point in points] == [[0, pytest.approx(0.94)], [10, pytest.approx(0.3)]]
    children = children_of(process)
    process.send_signal(end)
    process.communicate(timeout=30)
    assert process.returncode == (0 if end == signal.SIGINT else -end)
    # The reader of event files ends when its standard input does.
    subprocess.run(["tail", *(f"--pid={pid}" for pid in children), "-f", os.devnull], timeout=30, check=True)
    assert all(has_ended(pid) for pid in children)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address)

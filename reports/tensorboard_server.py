"""TensorBoard over a folder of runs, on the loopback address, until somebody stops it."""

import base64
import io
import json
import sys
import time
import urllib.request
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from rankscope.errors import UserError
from rankscope.program import typed

HOST = "127.0.0.1"
ENOUGH, PATIENCE = 10, 60  # seconds to wait for all runs, and for any; 50 take about two


def start_tensorboard(folder: Path, port: int = 6006) -> str:
    """Start TensorBoard within this process, and wait until it answers with a run.

    It lives in threads of this process, and in a reader of event files that ends with it, killed or not.

    Args:
        folder: a run directory, or any folder with runs below it.
        port: of the address; 0 for any that is free.

    Returns:
        The address of the charts, such as `http://127.0.0.1:6006/ranks`.

    Raises:
        UserError: for a folder without event files, a taken port, or where TensorBoard is missing or does not answer.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Name a run, or a folder of runs")
    runs = _runs_of(folder)
    if not runs:
        raise UserError(f"There are no event files at or below {folder}. Make some with: {typed('fit', 'vit')}")
    # TensorBoard's own switch: without TensorFlow, which it needs for nothing of ours, it starts 3 s sooner.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    try:
        from tensorboard import program
    except ImportError as error:
        raise UserError(f"TensorBoard is not installed ({error}): pip install -c constraints.txt -e .") from error

    def server(app, flags):
        return program.create_port_scanning_werkzeug_server(_with_redirect(app, folder), flags)

    board = program.TensorBoard(server_class=server)
    board.configure(argv=("",), logdir=str(folder), host=HOST, port=port, load_fast="auto")
    said = io.StringIO()
    try:
        with redirect_stderr(said):  # a note about how it reads files
            address = board.launch()
    except program.TensorBoardPortInUseError as error:
        another = port + 1 if port < 65535 else port - 1
        raise UserError(
            f"Port {port} is taken, perhaps by another dashboard. Choose another: --port {another}, or 0 for any"
        ) from error
    # Its server prints why it cannot have a port and exits.
    except (program.TensorBoardServerException, SystemExit) as error:
        told = said.getvalue() if isinstance(error, SystemExit) else str(error)
        reason = (told.strip() or "its server exits").splitlines()[-1]
        raise UserError(f"TensorBoard does not start at port {port}: {reason}") from error
    _wait(address, len(runs))
    return f"{address}ranks"


def _runs_of(folder):
    """Directories with event files, as TensorBoard names them."""
    files = (path for path in folder.rglob("events.out.tfevents.*") if path.is_file() and path.stat().st_size > 0)
    return sorted({path.parent.relative_to(folder).as_posix() for path in files})


#: TensorBoard would leave the ends of steep curves outside of its charts; whoever ticks that again is obeyed.
_LEAD = """<!DOCTYPE html><title>Ranks</title><script>
if (localStorage.getItem("_ignoreYOutliers") === null) localStorage.setItem("_ignoreYOutliers", "false");
location.replace({place});
</script>"""


def _with_redirect(app, folder):
    """TensorBoard's application, and an address, /ranks, that leads to the charts with all runs and all points."""

    def with_redirect(environ, start_response):
        if environ["PATH_INFO"] != "/ranks":
            return app(environ, start_response)
        # Of more than 40 runs TensorBoard would show none. Spaces instead of base64's padding: "=" parts its settings.
        chosen = json.dumps(dict.fromkeys(_runs_of(folder), True))
        chosen = base64.b64encode(chosen.ljust(-(-len(chosen) // 3) * 3).encode()).decode()
        # It would smooth, too: a rank is what it is.
        place = f"/#custom_scalars&_smoothingWeight=0&runSelectionState={quote(chosen, safe='')}"
        page = _LEAD.replace("{place}", json.dumps(place)).encode()
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")])
        return [page]

    return with_redirect


def _wait(address, runs):
    """Until all runs are read, with the layout of their charts: the page asks for it once, when it is opened."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # not by a proxy: it is this machine

    def ask(path):
        with opener.open(f"{address}data/{path}", timeout=PATIENCE) as answer:
            return json.load(answer)

    started = time.monotonic()
    while (waited := time.monotonic() - started) < PATIENCE:
        try:
            found = len(ask("runs"))
            # A run that has just been started has nothing yet, runs of another program have no layout.
            if (found >= runs and ask("plugin/custom_scalars/layout")) or (found and waited > ENOUGH):
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise UserError(f"TensorBoard at {address} has not found a run after {PATIENCE} s")

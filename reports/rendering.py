"""How a page becomes one file: template, style, scripts and numbers, under a policy that allows nothing else."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from rankscope.factors import PRODUCTS
from rankscope.files import replace_file
from rankscope.program import program_name

HERE = Path(__file__).parent

#: An absolute path, by itself or as a flag's value, but for its last part.
_FOLDERS = re.compile(r"^(--[\w-]+=)?/(?:.*/)?")
#: Signs with which text in a <script> could end it, open a comment in it, or end a line of JavaScript.
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def write_html(path: Path, template: str, script: str, data: Mapping[str, Any], digits: int = 6, **context) -> None:
    """Write a page that needs no other file and no network, whole or not at all.

    Args:
        path: of the page.
        template: file of reports/ that extends base.html.j2.
        script: file of reports/ that draws the page's charts with charts.js.
        data: what the script finds in `Charts.data`.
        digits: as of `to_json`.
        **context: what the template names; all of it is escaped but `Markup`.
    """
    import jinja2  # heavy libraries wait until a page is written
    from plotly.offline import get_plotlyjs

    # One script of ours, before plotly's: tables fill while that is read. plotly.js holds no end of a script element.
    ours = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("charts.js", script))
    scripts = [text.replace("</script", "<\\/script") for text in (ours, get_plotlyjs())]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    page = environment.get_template(template).render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(text) for text in scripts],
        script_hashes=[_hash(text) for text in scripts],
        data=Markup(to_json({"kinds": list(PRODUCTS), **data}, digits)),
        **context,
    )
    replace_file(Path(path), lambda file: file.write(page.encode(errors="replace")))


def _hash(script: str) -> str:
    """What the page's Content-Security-Policy allows: this script, letter by letter."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def to_json(content: Any, digits: int = 6) -> str:
    """JSON that is safe inside a <script> element; arrays become lists, what is not finite null.

    Args:
        content: mappings, lists, arrays, text and numbers.
        digits: that floats keep.

    Raises:
        TypeError: for what JSON has no form for.

    Example:
        >>> print(to_json({"name": "</script>", "values": np.array([1 / 3, np.nan])}))
        {"name":"\\u003c/script\\u003e","values":[0.333333,null]}
    """
    text = json.dumps(_plain(content, f".{digits}g"), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_UNSAFE)


def _plain(value, form):
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), form)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, form) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, form) for item in value]
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        short = float(format(value, form))
        return int(short) if short.is_integer() and abs(short) < 1e15 else short  # 1, not 1.0: pages hold many
    return value.item() if isinstance(value, np.generic) else value


def format_number(value: float, signed: bool = False) -> str:
    """Four digits, as people write them; a dash for what is not finite.

    Example:
        >>> [format_number(value) for value in (0.93751, 1234.5, 3e-9, float("nan"))]
        ['0.9375', '1,234', '3e-9', '–']
        >>> format_number(-0.25, signed=True)
        '−0.25'
    """
    if not np.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        mantissa, exponent = f"{size:.2e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    else:
        text = f"{size:,.0f}" if size >= 1000 else f"{size:.4g}"
    return ("−" if value < 0 else "+" if signed and value > 0 else "") + text


def chart_label(name: str, longest: int = 28) -> str:
    """Untrusted text as plotly may show it: plotly reads labels as HTML, and `%{…}` as a number of the chart.

    Example:
        >>> chart_label("<b>step 1</b> %{x}")
        '&lt;b&gt;step 1&lt;/b&gt; %&#123;x}'
    """
    return str(escape(name if len(name) <= longest else name[: longest - 1] + "…")).replace("%{", "%&#123;")


def shown_command(words: Sequence[Any]) -> str:
    """A command line as a page shows it: to be pasted, and without the folders of the machine that it was given on.

    Args:
        words: as of `sys.argv`.

    Example:
        >>> shown_command(["/home/me/cli.py", "report", "/tmp/a run", "--html=/tmp/page.html"])
        "python cli.py report 'a run' --html=page.html"
    """
    shown = [_FOLDERS.sub(lambda found: found[1] or "", str(word).rstrip("/")) for word in words[1:]]
    return f"{program_name(str(words[0]))} {shlex.join(shown)}"

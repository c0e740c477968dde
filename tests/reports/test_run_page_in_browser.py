"""The page about runs in Chromium, opened from a file: it draws, answers the keyboard, fits a phone and asks nobody."""

from pathlib import Path

import numpy as np
import pytest
from run_directories import make_run, make_sweep, make_verdict

from rankscope.reports.run_page import write_run_page

pytestmark = pytest.mark.slow

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"
LAST = 5  # number of the last reading


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A study's sweep of six runs and one that stands apart."""
    folder = tmp_path_factory.mktemp("runs") / "recall-sweep"
    runs = [*make_sweep(folder), make_run(folder / "runs" / "strayed", 0.3, 2, status="did_not_learn")]
    make_verdict(folder)
    path = folder / "report.html"
    write_run_page(runs, path, "python cli.py report recall-sweep", folder)
    return path


@pytest.fixture
def open_page(browser):
    contexts, complaints = [], []

    def open_(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url in (path.as_uri(), "data:,") or complaints.append(request.url))
        page.goto(path.as_uri())
        drawn(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def drawn(page):
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)


def traces(page):
    charts = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(chart => [chart.id, chart.data.length])"
    )
    return dict(charts)


def keep(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"report-{name}.png", full_page=True)


def test_charts_and_their_series(open_page, sweep):
    page = open_page(sweep, viewport={"width": 1280, "height": 900})
    found = traces(page)
    # Three points of two seeds with band (3 traces each), one run apart, and the dashed: one null, or one each.
    assert [found[f"ranks-{kind}-vo"] for kind in ("pseudo_rank", "nuclear_gap", "imbalance")] == [11, 14, 14]
    assert found["history-val_loss"] == 10
    assert [found[f"{kind}-qk"] for kind in ("heatmap", "spectra")] == [1, 4]
    assert found["trend-pseudo_rank_vo"] == 2
    assert found["trend-val_accuracy"] == 1
    assert len(found) == 4 + 6 + 5 + 2 + 2
    assert page.locator("h1").text_content() == "Study figure-1"
    assert page.locator("a[href^=http]").count() == 0
    keep(page, "light")


def test_menus_and_keys_by_keyboard(open_page, sweep):
    page = open_page(sweep)
    curve = "document.getElementById('ranks-pseudo_rank-vo').data"
    before = page.evaluate(f"{curve}.at(-1).y.at(-1)")
    page.locator("#layer").focus()
    page.keyboard.press("ArrowDown")
    drawn(page)
    assert page.locator("#layer").input_value() == "0"
    assert page.evaluate(f"{curve}.at(-1).y.at(-1)") > before  # layer 0 falls slower than the mean
    page.locator("input[name=series]").first.focus()
    page.keyboard.press("Space")
    drawn(page)
    assert page.evaluate(f"{curve}.length") == 8
    axis = "document.getElementById('ranks-nuclear_gap-qk').layout.yaxis.type"
    assert page.evaluate(axis) == "log"
    page.locator("input[name=rank-axis]").first.focus()
    page.keyboard.press("ArrowRight")
    drawn(page)
    assert page.evaluate(axis) != "log"


def test_a_page_without_any_curve_is_still_drawn(open_page, sweep):
    page = open_page(sweep)
    for box in page.locator("input[name=series]").all():
        box.uncheck()
    drawn(page)
    assert page.evaluate("document.getElementById('ranks-pseudo_rank-qk').data.length") == 0


def test_step_run_and_quantity_of_the_heatmap(open_page, sweep):
    page = open_page(sweep)
    cell = "document.getElementById('heatmap-vo').data[0].z[0][0]"
    assert page.locator("#step-shown").text_content() == "500"
    page.select_option("#heads-run", label="wd_attn=0.3,seed=0")
    drawn(page)
    assert page.evaluate(cell) == pytest.approx(0.9 / (1 + 0.3 * LAST))
    page.locator("#step").focus()
    page.keyboard.press("ArrowLeft")
    drawn(page)
    assert page.locator("#step-shown").text_content() == "400"
    assert page.locator("#step").get_attribute("aria-valuetext") == "step 400"
    assert page.evaluate(cell) == pytest.approx(0.9 / (1 + 0.3 * (LAST - 1)), abs=1e-4)
    page.keyboard.press("Home")
    page.click("input[name=shown][value=excess] + span")
    drawn(page)
    assert page.evaluate(cell) == pytest.approx(0.9 - 0.94)
    page.select_option("#quantity", "stable_rank")
    drawn(page)
    assert page.evaluate(cell) == pytest.approx(0.9 - 0.94)
    page.select_option("#spectra-run", label="strayed")
    page.select_option("#spectra-layer", "1")
    drawn(page)
    assert page.evaluate("document.getElementById('spectra-vo').data.length") == 4


def test_a_report_fits_a_phone_in_the_dark(open_page, sweep):
    page = open_page(sweep, viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("Math.max(...[...document.querySelectorAll('.chart')].map(c => c.scrollWidth))") <= 330
    assert page.evaluate("document.getElementById('ranks-pseudo_rank-qk').layout.font.color") == "#e6e7e4"
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    keep(page, "phone-dark")


def test_a_report_on_paper_has_all_charts_in_the_light(open_page, sweep):
    page = open_page(sweep, viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = page.evaluate("[...document.querySelectorAll('.chart')].map(c => [c.layout.width, c.clientWidth])")
    assert all(0 < drawn_at == room < 400 for drawn_at, room in widths)
    assert page.evaluate("document.getElementById('ranks-pseudo_rank-qk').layout.font.color") == "#1d2126"
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    keep(page, "print")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    drawn(page)
    assert page.evaluate("document.getElementById('ranks-pseudo_rank-qk').layout.font.color") == "#e6e7e4"


def test_a_curve_of_one_point_is_seen(open_page, tmp_path):
    write_run_page([make_run(tmp_path / "run", readings=1)], tmp_path / "report.html", "python cli.py report run")
    page = open_page(tmp_path / "report.html")
    assert page.evaluate("document.getElementById('ranks-pseudo_rank-qk').data.map(trace => trace.mode)") == [
        *("markers", "markers"),
    ]


def test_an_axis_that_is_cut_says_so(open_page, tmp_path):
    """A gap that falls to e^(−2.5 · 6) is below a millionth of its bound's start, 4."""
    write_run_page([make_run(tmp_path / "run", decay=3.0)], tmp_path / "report.html", "python cli.py report run")
    page = open_page(tmp_path / "report.html")
    axis = "document.getElementById('ranks-nuclear_gap-qk').layout.yaxis"
    assert page.evaluate(f"{axis}.title.text") == "cut at 4.00e-6"
    assert page.evaluate(f"{axis}.range[0]") == pytest.approx(np.log10(4e-6))


def test_ticks_of_a_narrow_logarithmic_axis(open_page, tmp_path):
    """Imbalances from 1 to e^(−0.05) and less have more than the tick 1."""
    write_run_page([make_run(tmp_path / "run", decay=0.05)], tmp_path / "report.html", "python cli.py report run")
    page = open_page(tmp_path / "report.html")
    ticks = page.evaluate("document.getElementById('ranks-imbalance-qk').layout.yaxis.ticktext")
    assert len(ticks) >= 3


def test_a_product_that_the_chosen_run_lacks_is_hidden(open_page, tmp_path):
    runs = [make_run(tmp_path / "both"), make_run(tmp_path / "one", decay=0.2)]
    text = (runs[1] / "ranks.csv").read_text()
    lines = [line for line in text.splitlines(keepends=True) if ",qk," not in line]
    (runs[1] / "ranks.csv").write_text("".join(lines))
    write_run_page(runs, tmp_path / "report.html", "python cli.py report both one")
    page = open_page(tmp_path / "report.html")
    assert page.locator("#heatmap-qk").is_visible()
    page.select_option("#heads-run", label="one")
    drawn(page)
    assert not page.locator("#heatmap-qk").is_visible()
    assert page.locator("#heatmap-vo").is_visible()


def test_a_large_sweep_draws_soon(open_page, tmp_path):
    """48 runs of 6 layers × 8 heads: the first chart in sight is there before the rest."""
    runs = [make_run(tmp_path / "runs" / str(n), n / 10, layers=6, heads=8, readings=12) for n in range(48)]
    write_run_page(runs, tmp_path / "report.html", "python cli.py report runs")
    page = open_page(tmp_path / "report.html")
    assert len(traces(page)) == 4 + 6 + 5 + 2 + 2
    first = page.evaluate("performance.getEntriesByName('chart')[0].startTime")
    assert first < 8_000  # ms; 1,000 to 3,000 on one core
    assert first < page.evaluate("performance.getEntriesByName('all charts')[0].startTime")

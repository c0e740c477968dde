"""The HTML page in Chromium, opened from a file: it draws, sorts by keyboard, fits a phone and asks nobody."""

import pytest
from random_analysis import random_analysis

from rankscope.factors import Shown, quantities_in
from rankscope.reports import write_page

pytestmark = pytest.mark.slow

NAME = "</script><img src=x onerror=alert(1)> model"


@pytest.fixture
def open_page(browser, tmp_path):
    contexts, complaints = [], []

    def open_(*analyses, compare=False, **options):
        path = tmp_path / "report.html"
        write_page(analyses, path, "python cli.py analyze model", compare=compare)
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: request.url in (path.as_uri(), "data:,") or complaints.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def traces(page):
    return page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].map(chart => chart.data.length)")


def column(page, place):
    return page.locator(f"#heads-table tbody td:nth-child({place})").all_text_contents()


def test_charts_and_their_traces(open_page):
    page = open_page(random_analysis(NAME))
    # Heatmaps; four layers, the null and the colour bar's; points and diagonal; and the null's line.
    assert traces(page) == [1, 1, 6, 6, 2, 2, 3, 3]
    assert page.locator("h1").text_content() == NAME
    assert page.locator("a[href^=http]").count() == 0


def test_quantities_and_units_redraw(open_page):
    page = open_page(random_analysis())
    cell = "document.getElementById('heatmap-qk-0').data[0]"
    page.select_option("#quantity", "effective_rank")
    page.click("input[name=shown][value=excess] + span")
    measured, null = (
        page.evaluate(f"JSON.parse(data.textContent).table.numbers.effective_rank{part}[0]") for part in ("", "_null")
    )
    assert page.evaluate(f"{cell}.z[0][0]") == pytest.approx(measured - null)
    assert page.evaluate(f"{cell}.zmin") == -page.evaluate(f"{cell}.zmax")
    for name, value in (("spectrum", "share"), ("spectrum-axis", "log"), ("scatter-axes", "log")):
        page.click(f"input[name={name}][value={value}] + span")
    assert page.evaluate("document.getElementById('norms-qk-0').layout.xaxis.type") == "log"
    assert page.evaluate("document.getElementById('spectra-vo-0').layout.yaxis.type") == "log"


def test_sorting_by_keyboard(open_page):
    page = open_page(random_analysis(layers=10, heads=8))
    header = page.locator("th[data-column=pseudo_rank]")
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(page, 4)]
    assert values == sorted(values)
    assert len(values) == 100
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "descending"
    assert float(column(page, 4)[0]) >= max(values)
    page.locator("#table-more").press("Enter")
    assert len(column(page, 4)) == 160
    page.click("input[name=table-pair][value='P W_V'] + span")
    assert set(column(page, 1)) == {"P W_V"}
    assert page.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("compare", [False, True])
def test_fits_a_phone(open_page, compare):
    analyses = [random_analysis("a-long-name-of-a-checkpoint-" * 4, seed=seed) for seed in range(2)]
    page = open_page(*analyses, compare=compare, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("Math.max(...[...document.querySelectorAll('.chart')].map(c => c.scrollWidth))") <= 330
    over_checkpoints = [one for one in quantities_in(Shown.CURVES) if one.expected is not None]
    assert len(traces(page)) == 8 + len(over_checkpoints) + 2 * compare


def test_charts_follow_the_colour_scheme(open_page):
    page = open_page(random_analysis(), color_scheme="dark")
    ink = "document.getElementById('spectra-qk-0').layout.font.color"
    dark = page.evaluate(ink), page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate(
        """() => {
            const chart = document.getElementById("spectra-qk-0");
            window.redrawn = new Promise((resolve) => chart.on("plotly_afterplot", () => resolve()));
        }"""
    )
    page.emulate_media(color_scheme="light")
    page.evaluate("window.redrawn")
    light = page.evaluate(ink), page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == ("#e6e7e4", "rgb(21, 24, 28)")
    assert light == ("#1d2126", "rgb(253, 253, 251)")


def test_a_large_model_answers_soon(open_page):
    page = open_page(random_analysis(layers=32, heads=32, key_dim=128))
    took = page.evaluate(
        """() => {
            const start = performance.now();
            document.querySelector("th[data-column=stable_rank] button").click();
            document.body.offsetHeight;
            return performance.now() - start;
        }"""
    )
    assert took < 1000  # ms; about 20
    assert page.locator("#table-count").text_content() == "100 of 2,048 heads"

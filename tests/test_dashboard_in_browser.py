"""The dashboard of a real sweep of six runs in Chromium: what somebody sees who follows the README.

Screenshots go to artefacts/, for people to look at.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.slow]

ARTEFACTS = Path(__file__).parent.parent / "artefacts"
# Three pairs to recall instead of twenty: seconds a run.
SMALL = ["data.num_pairs=3", "model.hidden_dim=32", "model.key_dim=16", "optimizer.warmup_steps=20"]
SMALL += ["training.log_every=20", "training.validate_every=60", "monitor.every=20"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dashboard") / "sweep"
    flags = [word for setting in SMALL for word in ("--set", setting)]
    command = ["sweep", "recall", "--wd-attn", "0,0.3,1", "--seeds", "2", "--steps", "120", *flags]
    done = subprocess.run(
        [sys.executable, "cli.py", *command, "--run-dir", str(directory)],
        cwd=ARTEFACTS.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture
def open_dashboard(browser, sweep, start_cli):
    """A page at a tab of the dashboard; afterwards nothing may have complained, or asked another machine."""
    process = start_cli("dashboard", sweep, "--port", 0)
    address = process.stdout.readline().split(" at ")[-1].strip()
    assert address.startswith("http://127.0.0.1:"), process.stderr.read()
    complaints, contexts = [], []

    def open_(tab=None, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        here = (address.removesuffix("ranks"), "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(here) or complaints.append(request.url))
        page.goto(address if tab is None else f"{address.removesuffix('ranks')}#{tab}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def screenshot(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"dashboard-{name}.png")


def test_one_chart_a_question_with_the_curves_of_all_runs(open_dashboard):
    page = open_dashboard(viewport={"width": 1280, "height": 2400})
    products = ("W_KᵀW_Q", "P W_V")
    expected = {
        **{f"Pseudo rank of {name}, and its null": 12 for name in products},
        **{"Loss": 12, "Accuracy or perplexity": 12, "Learning rate": 6},
        **{f"Nuclear gap of {name}, and its bound (Prop. A.4)": 12 for name in products},
        **{f"Imbalance of {name}, part of its start, and exp(−2λΣη)": 12 for name in products},
        **{f"Pseudo rank of {name} by layer": 12 for name in products},
        **{
            f"{quantity} of {name}, and its null": 12
            for quantity in ("Effective rank", "Imbalance", "Nuclear / Frobenius", "Participation ratio")
            for name in products
        },
        "The monitor's share of the wall clock": 6,
    }
    cards = page.locator("tf-custom-scalar-multi-line-chart-card")
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(cards).to_have_count(len(expected))
    for title, curves in expected.items():
        expect(cards.filter(has_text=title)).to_contain_text(f"Matches ({curves})", timeout=20_000)
    # As measured: TensorBoard would smooth.
    assert page.locator("tf-smoothing-input input").first.input_value() == "0"
    # All of it: TensorBoard would leave outliers outside.
    assert page.evaluate("localStorage.getItem('_ignoreYOutliers')") == "false"
    assert page.locator("paper-checkbox", has_text="Ignore outliers").get_attribute("aria-checked") == "false"
    screenshot(page, "charts")


def test_hyperparameters_beside_results(open_dashboard):
    page = open_dashboard("hparams", viewport={"width": 1280, "height": 900})
    page.locator("text=PARALLEL COORDINATES VIEW").click()
    plot = page.locator("tf-hparams-parallel-coords-plot")
    for name in ("wd_attn", "seed", "training/val_loss", "training/val_accuracy", "pseudo_rank/vo/mean"):
        plot.locator(f"text={name}").first.wait_for()
    screenshot(page, "hparams")


def test_images_texts_and_histograms(open_dashboard):
    page = open_dashboard("images", viewport={"width": 1280, "height": 1400})
    page.locator("tf-image-loader img").nth(1).wait_for()
    screenshot(page, "images")
    page = open_dashboard("text", viewport={"width": 1280, "height": 1400})
    page.locator("text=query_kernel").first.wait_for()
    screenshot(page, "text")
    page = open_dashboard("histograms", viewport={"width": 1280, "height": 900})
    page.locator("text=singular_values/qk/layer_0").first.wait_for()
    screenshot(page, "histograms")


def press_tab(page):
    """What has the focus then."""
    page.keyboard.press("Tab")
    return page.evaluate(
        """() => {
            let element = document.activeElement;
            while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
            return element.tagName;
        }"""
    )


def test_keyboard_and_phone(open_dashboard):
    page = open_dashboard(viewport={"width": 360, "height": 740})
    page.locator("text=/Matches .[1-9]/").first.wait_for(state="attached")
    screenshot(page, "phone")
    reached = [press_tab(page) for _ in range(40)]
    assert {"PAPER-CHECKBOX", "PAPER-SLIDER", "INPUT", "BUTTON"} <= set(reached), reached

"""Draws README's pictures from the demo's runs: python docs/pictures.py saved_models/DEMO."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
CLI = [sys.executable, str(DOCS.parent / "cli.py")]


def dashboard(browser, demo):
    """The charts that the dashboard opens with."""
    process = subprocess.Popen([*CLI, "dashboard", str(demo), "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        page = browser.new_page(viewport={"width": 1180, "height": 840})
        page.goto(process.stdout.readline().split(" at ")[-1].strip())
        page.locator("text=Matches (4)").nth(3).wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=DOCS / "dashboard.png")
    finally:
        process.kill()
        process.wait()


def report(browser, demo):
    """The page's top."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        subprocess.run([*CLI, "report", str(demo), "--html", str(path)], check=True)
        page = browser.new_page(viewport={"width": 1180, "height": 1500})
        page.goto(path.as_uri())
        page.locator("html[data-ready]").wait_for()
        page.screenshot(path=DOCS / "report.png")


def main(demo):
    """Curves, dashboard and report of the same two runs."""
    runs = [str(demo / name) for name in ("wd_attn=0", "wd_attn=1")]
    subprocess.run([sys.executable, str(DOCS / "rank_curves.py"), str(DOCS / "rank-curves.png"), *runs], check=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        dashboard(browser, demo)
        report(browser, demo)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

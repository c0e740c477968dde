"""The dashboard of 50 runs beside that of one: seconds until it has an address, and until the first chart is drawn.

python benchmarks/dashboard.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def measure(browser, folder, runs):
    """Seconds until `dashboard` says its address, and from opening that to the first chart's curves."""
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "cli.py"), "dashboard", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split(" at ")[-1].strip()
        answered = time.perf_counter() - started
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        opened = time.perf_counter()
        page.goto(address)
        chart = page.locator("tf-custom-scalar-multi-line-chart-card").first
        chart.locator(f"text=Matches ({2 * runs})").wait_for()  # a mean and a null a run
        drawn = time.perf_counter() - opened
        page.close()
    finally:
        process.kill()
        process.wait()
    return answered, drawn


def main():
    """Train a run, copy its events 50 times, and print both times of one run and of 50."""
    from playwright.sync_api import sync_playwright

    from rankscope.training.fit import fit
    from rankscope.training.settings import config_path, load_settings

    folder = Path(tempfile.mkdtemp())
    settings = load_settings(config_path("vit"), [("training.steps", 400), ("monitor.every", 20)])
    run = fit(settings, folder / "one" / "run-0")
    for number in range(50):
        copy = folder / "fifty" / f"run-{number}"
        copy.mkdir(parents=True)
        for path in run.glob("events.out.tfevents.*"):
            shutil.copy(path, copy)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        measured = {runs: measure(browser, folder / name, runs) for name, runs in (("one", 1), ("fifty", 50))}
        browser.close()
    shutil.rmtree(folder)
    for runs, (answered, drawn) in measured.items():
        print(f"{runs} runs of 21 readings: address after {answered:.1f} s, first chart {drawn:.1f} s after opening")
    print(f"50 runs over one: {measured[50][1] / measured[1][1]:.1f} times")


if __name__ == "__main__":
    main()

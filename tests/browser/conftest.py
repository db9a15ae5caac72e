"""A real JupyterLab and a real Chromium, one of each for all browser tests."""

import os
import re
import shutil

import pytest
from lab import SCREENSHOTS, Lab

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader",
]  # fmt: skip
LAPTOP = {"width": 1366, "height": 768}


def missing(what):
    """Skips, but fails in CI: there nobody would notice that the tests are not run."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"The browser tests need {what}.")


@pytest.fixture(scope="session")
def browser():
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("playwright: pip install -e '.[browser]'")
    with sync_playwright() as playwright:
        try:  # None: the one that playwright itself has installed
            path = shutil.which("chromium") or shutil.which("google-chrome")
            chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            missing(f"chromium (apt-get install chromium, or playwright install chromium): {error}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def ran(browser, lab):
    """Notebooks that are open and have run, each once for all tests; see Lab.open."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport=LAPTOP)
    context.set_default_timeout(20_000)
    opened = {}

    def run(stem, **options):
        key = (stem, repr(options))
        if key not in opened:
            notebook = lab.open(context.new_page(), stem, **options)
            try:
                notebook.run_all()
            finally:
                notebook.screenshot(f"{stem}-ran")
            opened[key] = notebook
        opened[key].page.bring_to_front()
        return opened[key]

    yield run
    context.close()


@pytest.fixture
def notebook(ran, request):
    """The same; how they look after the test is kept as a screenshot, passed or failed."""
    shown = []

    def show(stem, **options):
        shown.append(ran(stem, **options))
        return shown[-1]

    yield show
    for one in shown:
        one.screenshot(re.sub(r"\W+", "-", request.node.name).strip("-"))

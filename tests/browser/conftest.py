"""A real JupyterLab and a real Chromium, one of each for all browser tests."""

import os
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


@pytest.fixture(scope="module")
def context(browser):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport=LAPTOP)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context, request):
    """A page of a laptop's size; its last state is kept as a screenshot, passed or failed."""
    page = context.new_page()
    yield page
    page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    page.close()


@pytest.fixture
def notebook(lab, page):
    """Opens notebooks by stem, see Lab.open; their kernels end with the test."""
    opened = []

    def opens(stem, **parameters):
        opened.append(lab.open(page, stem, **parameters))
        return opened[-1]

    yield opens
    for one in opened:
        one.shut_down()

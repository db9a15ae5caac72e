"""A real JupyterLab and a real Chromium, one of each for all browser tests."""

import os
import re
import shutil

import playground
import playing
import pytest
from lab import SCREENSHOTS, Lab

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader",
]  # fmt: skip


# Two processes have half of the tests each: files that open the same notebooks stay together, so
# that each notebook is run once.
SECOND = ("test_phase2_panel", "test_playground")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        group = "second" if item.path.stem in SECOND else "first"
        item.add_marker(pytest.mark.xdist_group(group))


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
    context = browser.new_context(viewport=playing.LAPTOP)
    context.set_default_timeout(60_000)  # a busy machine is no fault
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


@pytest.fixture(scope="session")
def playground_file(tmp_path_factory):
    """The playground as it is built."""
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    path.write_bytes(playground.script("build").page().encode())
    return path


@pytest.fixture
def opened(browser, playground_file):
    """Opens the playground; at the end there was no error in it, and it asked for nothing else."""
    contexts, errors, asked = [], [], []  # what stays in the last two when the test ends fails it

    def open_page(link="#step=1", viewport=playing.LAPTOP, before=None, **options):
        context = browser.new_context(viewport=viewport, **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error.stack))
        page.on("console", lambda said: said.type == "error" and errors.append(said.text))
        page.on("request", lambda request: asked.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto(f"{playground_file.as_uri()}{link}", wait_until="commit")
        playing.until(page, "globalThis.playground?.firstPicture")
        if "step=" in link:
            playing.until(page, "!playground.state.running")
        return page

    open_page.errors, open_page.asked = errors, asked
    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [
        url for url in asked if not url.startswith((playground_file.as_uri(), "blob:null/"))
    ] == []

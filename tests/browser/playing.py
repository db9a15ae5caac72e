"""The playground in a page, driven as a person does."""

import time

LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}


def until(page, expression, seconds=30):
    """Waits for something in the page to be true; Playwright's own way breaks the page's policy."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"after {seconds} s still not so: {expression}"
        page.wait_for_timeout(30)


def step(page):
    """Steps taken."""
    return page.evaluate("playground.state.step")


def settings(page):
    """By their names, as the last picture has them."""
    return page.evaluate("playground.state.settings")


def said(page):
    """The message at the top."""
    return page.locator("#told p").text_content()


def pause(page):
    """Presses Pause."""
    page.get_by_role("button", name="Pause", exact=True).click()
    until(page, "!playground.state.running")


def start(page):
    """Presses Start."""
    page.get_by_role("button", name="Start", exact=True).click()


def choose(page, content, name="mine.csv"):
    """Gives the page a file by its button."""
    data = content if isinstance(content, bytes) else content.encode()
    page.set_input_files("#file", {"name": name, "mimeType": "text/csv", "buffer": data})

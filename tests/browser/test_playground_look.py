"""How the playground looks and is reached: sizes, themes, keyboard, texts; nothing leaves it."""

import page_checks
import pytest
from lab import SCREENSHOTS
from playing import LAPTOP, PHONE, choose, pause, start, step, until


def test_reduced_motion_waits_for_a_person(opened):
    page = opened("", reduced_motion="reduce")
    page.wait_for_timeout(700)
    assert step(page) == 0
    start(page)
    until(page, "playground.state.step > 3")


def test_few_words_before_the_first_button(opened):
    page = opened()
    before = page.evaluate("""() => {
        const range = document.createRange();
        range.setStart(document.body, 0);
        range.setEndBefore(document.getElementById("start"));
        return range.toString();
    }""")
    assert 10 < len(before.split()) <= 80


def test_nothing_can_be_fetched(opened):
    page = opened()
    refused = page.evaluate("""() => fetch("https://example.com/").then(() => "", String)""")
    assert "Failed to fetch" in refused
    blocked = page.evaluate("""() => new Promise(resolve => {
        addEventListener("securitypolicyviolation", event => resolve(event.effectiveDirective));
        const image = new Image();
        image.src = "https://example.com/x.png";
        document.body.append(image);
    })""")
    assert blocked == "img-src"
    assert len(opened.errors) >= 2  # the browser's own words about both
    assert all("Content Security Policy" in error or "https://example.com" in error
               for error in opened.errors)  # fmt: skip
    opened.errors.clear()
    assert "https://example.com/x.png" in opened.asked  # asked for, and blocked
    opened.asked.clear()


def test_without_workers_it_runs_in_the_page(opened):
    page = opened("", before="delete window.Worker")
    until(page, "playground.state.step > 10")
    pause(page)
    other = opened(f"#step={step(page)}")
    assert page.evaluate("playground.state.rows") == other.evaluate("playground.state.rows")


VIEWPORTS = {
    "390": PHONE,
    "820": {"width": 820, "height": 1180},
    "1366": LAPTOP,
    "1920": {"width": 1920, "height": 1080},
}
EXTREMES = [("390", "dark", True), ("390", "light", False), ("1366", "light", True),
            ("1920", "dark", False)]  # fmt: skip
LOOKS = [
    pytest.param(
        VIEWPORTS[width], scheme, large,
        id=f"{width}-{scheme}-{'large' if large else 'usual'}",
        marks=() if (width, scheme, large) in EXTREMES else pytest.mark.long,
    )
    for width in VIEWPORTS
    for scheme in ("light", "dark")
    for large in (False, True)
]  # fmt: skip


@pytest.mark.parametrize(("viewport", "scheme", "large"), LOOKS)
def test_no_text_overlaps_or_is_cut(opened, viewport, scheme, large):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    link = "#step=60&n_s=5" + ("&type=large" if large else "")
    page = opened(link, viewport=viewport, color_scheme=scheme)
    name = f"playground-{viewport['width']}-{scheme}{'-large' if large else ''}"

    def look(what):
        page.evaluate("scrollTo(0, 0)")  # what is said above stays in sight when one scrolls
        page.wait_for_timeout(150)
        page.screenshot(path=SCREENSHOTS / f"{name}-{what}.png", full_page=True)
        assert page_checks.cut(page) == [], what
        assert page_checks.overlaps(page) == [], what
        ratio, text = page_checks.lowest_contrast(page)
        assert ratio >= 4.5, (what, text)

    look("step 60")
    page.get_by_role("button", name="2 “Look real” off").click()
    page.locator("#numbers summary").click()
    page.locator("#closer").click()
    look("story, tables")
    page.locator("#story-close").click()
    page.locator("#set-n_s").fill("20")
    page.locator("#set-n_s").press("Enter")
    page.locator("#set-lambda_adv").fill("-1")
    page.locator("#set-lambda_adv").press("Enter")
    until(page, "playground.state.settings.n_s === 20")
    look("20 features, a message")
    names = ["a rather long name of a class", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "c"]
    choose(
        page, "".join(f"{one},{k},{k * j}\n" for one in names for k in range(12) for j in range(2))
    )
    until(page, "playground.fixed.kind === 'own'")
    look("long names")


def test_every_control_has_a_name_and_is_reached_by_keyboard(opened):
    page = opened()
    wanted = page.evaluate("""() => [...document.querySelectorAll("button, input, select, summary")]
        .filter(node => node.checkVisibility() && !node.disabled && node.tabIndex >= 0).length""")
    seen = []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        at = page.evaluate("""() => {
            const node = document.activeElement;
            if (node === document.body) return null;
            const style = getComputedStyle(node);
            window.number ??= new Map();
            if (!window.number.has(node)) window.number.set(node, window.number.size);
            const label = node.labels?.[0]?.textContent ?? "";
            return [window.number.get(node), style.outlineStyle, parseFloat(style.outlineWidth),
                node.getAttribute("aria-label") || label || node.textContent];
        }""")
        if at and at[0] not in [one[0] for one in seen]:
            seen.append(at)
    assert len(seen) == wanted
    for _, line, width, name in seen:
        assert name.strip()
        assert (line, width >= 2) == ("solid", True), name


def test_pictures_have_texts_from_the_data(opened):
    page = opened("#step=40")
    until(page, "document.querySelector('#entropy svg')?.ariaLabel?.includes('over 40 steps')")
    entropy = page.evaluate("playground.state.rows.at(-1).entropy")
    said_of = page.locator("#entropy svg").get_attribute("aria-label")
    assert f"over 40 steps: entropy {entropy:.2f} now" in said_of
    assert "Losses at step 40: D " in page.locator("#losses svg").get_attribute("aria-label")
    assert "449 real and 60 new" in page.locator("#map svg").get_attribute("aria-label")
    page.locator("#numbers summary").click()
    page.locator("#tables table").nth(1).wait_for()
    recall = page.evaluate("playground.state.now.recall")
    cells = page.locator("#tables table").nth(1).locator("tbody tr td:last-child")
    assert cells.all_text_contents() == [f"{one:.3f}" for one in recall]


def test_the_link_is_copied_or_shown(opened):
    page = opened("#n_s=3&step=2")
    page.locator("#link").click()
    page.locator("#link", has_text="Copied").or_(
        page.locator("#told", has_text="n_s=3&step=2")
    ).first.wait_for()

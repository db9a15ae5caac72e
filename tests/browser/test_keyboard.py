"""Every control has a name that a screen reader can say, and the keyboard reaches it."""

import re

import pytest
from lab import OPTIONS

WITH_CONTROLS = [
    ("00_lt_datasets", "explorers.long_tail("),
    ("02_dictionary", "explorers.feature("),
    ("03_phase2", "phase2_panel.phase2("),
    ("04_embeddings", "embedding_explorer.explore("),
]
# A line of a tree of what screen readers see: the role of a control, then its name if it has one.
CONTROL = re.compile(r"""^\s*- '?(button|checkbox|combobox|radio|slider|spinbutton|textbox)(.*)""")
# The controls of the notebook, numbered; the first gets the focus.
NUMBER = """output => {
    const all = output.querySelectorAll("input, select, button, [role=slider]");
    const usable = [...all].filter(control => !control.disabled && control.offsetParent);
    usable.forEach((control, k) => { control.dataset.number = k; });
    usable[0].focus();
    return usable.length;
}"""
FOCUSED = "Number(document.activeElement.dataset.number ?? -1)"


@pytest.mark.parametrize(("stem", "cell"), WITH_CONTROLS)
def test_controls_have_names_and_are_reached_by_tab(notebook, stem, cell):
    opened = notebook(stem, **OPTIONS.get(stem, {}))
    output = opened.panel.locator(".jp-CodeCell", has_text=cell).locator(".jp-OutputArea").first
    output.locator(".js-plotly-plot").first.wait_for()

    opened.wait(lambda: not nameless(output), "names of all controls", 5)
    count = output.evaluate(NUMBER)
    assert count > 2
    reached = []
    for _ in range(count):
        reached.append(opened.page.evaluate(FOCUSED))
        opened.page.keyboard.press("Tab")
    assert sorted(reached) == list(range(count))


def nameless(output):
    """Roles of controls without a name; a slider may have that of the number box before it."""
    found = [CONTROL.match(line) for line in output.aria_snapshot().splitlines()]
    controls = [(match[1], match[2].startswith(' "')) for match in found if match]
    before = [("", False), *controls[:-1]]
    return [
        role
        for (role, named), (neighbour, has_name) in zip(controls, before, strict=True)
        if not named and not (role == "slider" and neighbour == "spinbutton" and has_name)
    ]

"""Notebook 04's maps with 20,000 points in a real browser: how soon they are there, and answer.

    python -m benchmarks.atlas --points 20000 --runs 5 --out speed.json

A simulated dictionary whose coordinates are given, in JupyterLab in headless Chromium, drawn by
software: a real graphics card is not slower. As in the notebook, the canvas is prepared before the
maps are computed; a pause of three seconds stands for that, and UMAP alone takes longer. Without,
the page has to load plotly first. Needs `pip install -e '.[browser]'` and Chromium.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from benchmarks.browser import Desk, desk
from benchmarks.rows import row, write
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import Mix
from facog_lab.plots.embedding import Map
from facog_lab.plots.mixture_map import MixtureMap

CLASSES, N_S, SIDE = 100, 5, 32  # as in CIFAR-100
GENERATED_SHARE = 20  # one point in so many is generated
HOVERS = 20  # of each run
FIRST_PICTURE, HOVER = 2000, 100  # ms, the bars


def world(points: int, seed: int = 0) -> MixtureMap:
    """Simulated features around a centre for each class, on maps that are made up with them."""
    rng = torch.Generator().manual_seed(seed)
    made, width = points // GENERATED_SHARE, 8
    real = points - made
    labels = torch.randint(CLASSES, (real,), generator=rng).sort().values
    labels[:CLASSES], labels = torch.arange(CLASSES), labels.sort().values
    centres = 6 * torch.randn(CLASSES, width, generator=rng)
    features = centres[labels] + torch.randn(real, width, generator=rng)
    dictionary = FeatureDictionary.build(
        features=features,
        labels=labels,
        image_index=torch.arange(real),
        class_names=tuple(f"class {c}" for c in range(CLASSES)),
        test_features=features[:1],
        test_labels=labels[:1],
    )
    wanted = torch.randint(CLASSES, (made,), generator=rng)
    rows = dictionary.draw(wanted, N_S, rng)
    weights = torch.rand(made, N_S, generator=rng)
    weights /= weights.sum(1, keepdim=True)
    mixed = (weights[..., None] * dictionary.features[rows]).sum(1)

    def plane(first: int) -> Map:
        """Two of the dimensions."""
        cut = slice(first, first + 2)
        flat = dictionary.features[:, cut].numpy()
        return Map("tsne", flat, False, 0.9, 0.0, width, lambda new: new[:, cut])

    return MixtureMap(
        dictionary=dictionary,
        images=torch.randint(256, (real, 3, SIDE, SIDE), dtype=torch.uint8, generator=rng),
        maps={"t-SNE": plane(0), "UMAP": plane(2), "PCA": plane(4)},
        kept=torch.arange(real),
        mixed=Mix(mixed, weights, rows),
        labels=wanted,
        gained=torch.linspace(-0.2, 0.5, CLASSES),
    )


CELLS = (
    """import sys, time
sys.path.insert(0, "{root}")
from benchmarks.atlas import world
from facog_lab.ui import embedding_explorer
canvas = embedding_explorer.prepare("on")
made = world({points})
made.places
time.sleep(3)""",
    "embedding_explorer.explore(made, 'on', canvas)",
)
# The time from running the second cell to the maps on the screen.
FIRST = """() => new Promise(done => {
    const started = performance.now();
    document.addEventListener("plotlywidget-after-render", () => requestAnimationFrame(() =>
        setTimeout(() => done(performance.now() - started))), {once: true});
    window.jupyterapp.commands.execute("notebook:run-cell");
})"""
# Where some points are in the window; those of the left map's real features.
PLACES = """count => {
    const graph = document.querySelector(".js-plotly-plot");
    const trace = graph._fullData[1], layout = graph._fullLayout;
    const box = graph.querySelector(".nsewdrag").getBoundingClientRect();
    return Array.from({length: count}, (_, k) => Math.floor((k + 0.5) * trace.x.length / count))
        .map(i => [box.x + layout.xaxis.l2p(trace.x[i]), box.y + layout.yaxis.l2p(trace.y[i])]);
}"""
# The time from the next move of the mouse to another image in the fixed place, decoded and painted.
ARM = """() => { window.answer = new Promise(done => {
    const strip = document.querySelector(".facog-hovered");
    let moved = null;
    document.addEventListener("mousemove", event => { moved ??= event.timeStamp; },
                              {capture: true});
    const watch = new MutationObserver(async () => {
        const image = strip.querySelector("img");
        if (moved === null || !image) return;
        watch.disconnect();
        await image.decode();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - moved)));
    });
    watch.observe(strip, {childList: true, subtree: true});
}); }"""


def run(at: Desk, points: int) -> tuple[float, list[float]]:
    """A kernel and a page of its own: ms to the first picture, and to the answers to the mouse."""
    opened = at.open([cell.replace("{points}", str(points)) for cell in CELLS])
    page = opened.page
    first, second = (opened.panel.locator(".jp-CodeCell").nth(k) for k in (0, 1))
    first.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    first.locator(".jp-InputPrompt", has_text="[1]").wait_for(timeout=120_000)
    second.locator(".cm-content").click()
    picture = page.evaluate(FIRST)
    page.locator(".js-plotly-plot").scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    answers = []
    for x, y in page.evaluate(PLACES, HOVERS):
        page.evaluate(ARM)
        page.mouse.move(x, y)
        answers.append(page.evaluate("window.answer"))
        page.wait_for_timeout(200)
    page.close()
    for kernel in opened.kernels():
        at.lab.ask("DELETE", f"kernels/{kernel['id']}")
    return picture, answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20_000, help="on each map")
    parser.add_argument("--runs", type=int, default=5, help="each with a new kernel and page")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    options = parser.parse_args()
    pictures, answers = [], []
    with desk() as at:
        for k in range(options.runs):
            picture, hovers = run(at, options.points)
            middle = statistics.median(hovers)
            said = f"hover {middle:.0f} ms ({min(hovers):.0f} to {max(hovers):.0f})"
            print(f"run {k + 1}: first picture {picture:.0f} ms, {said}")
            pictures.append(picture)
            answers += hovers
    named = f"{options.points:,} points"
    rows = [
        row(f"04: first picture, {named}", pictures, "ms", FIRST_PICTURE, most=True),
        row(f"04: image of a hovered point, {named}", answers, "ms", HOVER, most=True),
    ]
    command = f"python -m benchmarks.atlas --points {options.points} --runs {options.runs}"
    write(rows, options.out, command)


if __name__ == "__main__":
    main()

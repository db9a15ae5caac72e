"""What a person sees on a page, measured: texts that overlap, texts that are cut, contrast."""

# Every visible piece of text with its boxes; text in a scrolled-away part of a box does not count.
TEXTS = """() => {
    const found = [];
    let nodes = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.textContent.trim(), parent = node.parentElement;
        if (!text || parent.closest("script, style, noscript, option, .unseen, [hidden]")) continue;
        if (!parent.checkVisibility({visibilityProperty: true})) continue;
        const closed = parent.closest("details:not([open])");
        if (closed && !parent.closest("summary")) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        nodes++;
        for (const box of range.getClientRects()) {
            if (box.width < 1 || box.height < 1) continue;
            let {left, right, top, bottom} = box;
            for (let up = parent; up; up = up.parentElement) {
                const style = getComputedStyle(up);
                if (style.overflowY !== "visible" || style.overflowX !== "visible") {
                    const clip = up.getBoundingClientRect();
                    left = Math.max(left, clip.left);
                    right = Math.min(right, clip.right);
                    top = Math.max(top, clip.top);
                    bottom = Math.min(bottom, clip.bottom);
                }
            }
            if (right - left < 2 || bottom - top < 2) continue;
            const y = parent.closest("svg") ? 0.2 * box.height : 0.12 * box.height;
            found.push({node: nodes, text, left, right, top: top + y, bottom: bottom - y});
        }
    }
    return found;
}"""
# Boxes whose text does not fit: wider than the page, or cut without an ellipsis.
CUT = """() => {
    const wide = document.documentElement.clientWidth, cut = [];
    if (document.documentElement.scrollWidth > wide + 1) cut.push("the page is too wide");
    for (const node of document.querySelectorAll("body *")) {
        if (!node.checkVisibility() || node.closest(".unseen, svg, [hidden]")) continue;
        const style = getComputedStyle(node), own = [...node.childNodes].some(
            child => child.nodeType === 3 && child.textContent.trim());
        if (!own || style.display.startsWith("inline") && node.tagName !== "BUTTON") continue;
        if (node.closest("#tables")) continue; // it scrolls
        const cutOff = style.textOverflow !== "ellipsis" && node.scrollWidth > node.clientWidth + 1;
        const beyond = node.getBoundingClientRect().right > wide + 1;
        if (!cutOff && !beyond) continue;
        cut.push(`${cutOff ? "cut" : "beyond"}: ${node.outerHTML.slice(0, 90)}`);
    }
    const cards = ".card, aside > section, #story, #told, .headline";
    const left = ".name, .unseen, [hidden], select";
    for (const card of document.querySelectorAll(cards)) {
        if (!card.checkVisibility()) continue;
        const frame = card.getBoundingClientRect(), range = document.createRange();
        for (const node of card.querySelectorAll("*")) {
            if (node.closest(left) || !node.checkVisibility()) continue;
            for (const child of node.childNodes) {
                if (child.nodeType !== 3 || !child.textContent.trim()) continue;
                range.selectNodeContents(child);
                const box = range.getBoundingClientRect();
                if (box.left >= frame.left && box.right <= frame.right) continue;
                cut.push(`out of its box: ${child.textContent.slice(0, 60)}`);
            }
        }
    }
    return cut;
}"""
# The lowest contrast of text with the ground behind it, with its text (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
    let worst = [21, ""];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement, text = node.textContent.trim();
        if (!text || parent.closest("script, style, noscript, option, .unseen, [hidden]")) continue;
        if (!parent.checkVisibility({visibilityProperty: true})) continue;
        const style = getComputedStyle(parent);
        const ink = light(rgba(parent.closest("svg") ? style.fill : style.color));
        let up = parent;
        while (up && rgba(getComputedStyle(up).backgroundColor)[3] < 255) up = up.parentElement;
        const ground = light(rgba(up ? getComputedStyle(up).backgroundColor : "white"));
        const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
        if (ratio < worst[0]) worst = [ratio, text.slice(0, 60)];
    }
    return worst;
}"""


def overlaps(page, slack=1.5):
    """Pairs of texts that lie over each other by more than `slack` pixels both ways."""
    boxes = sorted(page.evaluate(TEXTS), key=lambda box: box["top"])
    found = []
    for k, one in enumerate(boxes):
        for other in boxes[k + 1 :]:
            if other["top"] >= one["bottom"] - slack:
                break
            if one["node"] == other["node"]:  # a text with an ellipsis has two boxes
                continue
            if min(one["right"], other["right"]) - max(one["left"], other["left"]) > slack:
                found.append((one["text"][:40], other["text"][:40]))
    return found


def cut(page):
    """Texts that do not fit where they are."""
    return page.evaluate(CUT)


def lowest_contrast(page):
    """(ratio, text) of the text with the least contrast."""
    return tuple(page.evaluate(CONTRAST))

"""Builds the playground: all of site/playground/src in one HTML file that needs nothing else.

    python site/playground/build.py                  makes outputs/playground.html
    python site/playground/build.py --to PATH        makes another file

Python's standard library is enough; nothing is fetched.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IMPORT = re.compile(r'^import (\{[^}]*\}) from "(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:class|const|function\*?) (\w+))", re.MULTILINE)
MOST_BYTES = 1_000_000
# Everything is forbidden but the script and the style that are in the file, by their hashes, the
# worker made from that script, and compiling the matrix product. Nothing can be fetched or sent.
POLICY = (
    "default-src 'none'; script-src {script} 'wasm-unsafe-eval'; style-src {style}; "
    "worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
)


def bundle(entry: Path) -> str:
    """A module and all that it imports as one script, each once and before whoever needs it.

    A file becomes a function that is called at once and returns what the file exports, so names
    that it does not export are its own.

    Raises:
        ValueError: for an import in a circle, or one in a form that this does not know.
    """
    made: dict[Path, str] = {}
    on_the_way: list[Path] = []

    def name_of(path: Path) -> str:
        return "module_" + "_".join(path.relative_to(entry.resolve().parent).with_suffix("").parts)

    def add(path: Path) -> None:
        if path in on_the_way:
            circle = " > ".join(one.name for one in [*on_the_way, path])
            raise ValueError(f"{circle}: modules import each other in a circle.")
        if path in made:
            return
        on_the_way.append(path)
        text = path.read_text(encoding="utf-8")
        needed = {place: (path.parent / place).resolve() for _, place in IMPORT.findall(text)}
        for one in needed.values():
            add(one)
        on_the_way.pop()
        text = IMPORT.sub(lambda found: f"const {found[1]} = {name_of(needed[found[2]])};", text)
        if several := re.search(r"^export const \w+ = [^;({\[]*, \w+ = .*", text, re.MULTILINE):
            raise ValueError(
                f"{path.name}: {several[0]!r} exports several names: one each, please."
            )
        exported = ", ".join(name for _, name in EXPORT.findall(text))
        text = EXPORT.sub(r"\1", text)
        if left := re.search(r"^(import|export)\b.*", text, re.MULTILINE):
            raise ValueError(f"{path.name}: {left[0]!r} is a form that this build does not know.")
        made[path] = f"const {name_of(path)} = (() => {{\n{text}return {{ {exported} }};\n}})();\n"

    add(entry.resolve())
    return '"use strict";\n' + "\n".join(made.values())


def page() -> str:
    """The whole page."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    script = bundle(HERE / "src" / "start.js")
    digits = json.dumps(json.loads((HERE / "digits.json").read_text()), separators=(",", ":"))
    for name, text in (("script", script), ("style", style)):
        if f"</{name}" in text:
            raise ValueError(f"the {name} holds '</{name}', which would end it in the page.")
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    parts = {"policy": policy, "style": style, "script": script, "digits": digits}
    template = (HERE / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    outputs = Path(os.environ.get("FACOG_OUTPUTS", ROOT / "outputs"))
    parser.add_argument("--to", type=Path, default=outputs / "playground.html", metavar="PATH")
    to = parser.parse_args().to
    made = page().encode()
    if len(made) > MOST_BYTES:
        raise SystemExit(f"The page has {len(made):,} bytes; at most {MOST_BYTES:,} are allowed.")
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(made)
    print(f"{to}: {len(made):,} bytes")


if __name__ == "__main__":
    main()

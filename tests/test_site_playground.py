"""The playground's build and its data; what it does in a browser is in tests/browser."""

import base64
import hashlib
import json
import re

import playground
import pytest
import torch

build, export = playground.script("build"), playground.script("export")
COMMITTED = json.loads(export.FILE.read_text())
PACKED = ("features", "test_features")
NETWORKS = ("classifier", "projector")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command gives now, phase 1 anew: 10 seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACOG_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
        return export.export()


def test_the_data_are_those_of_the_lab(made):
    """What does not depend on rounding, on any machine."""
    for name in ("made_by", "split_hash", "names", "counts", "dim", "test_labels", "images"):
        assert made[name] == COMMITTED[name], name


def test_the_data_are_what_the_command_gives(made):
    if made["made_on"] != COMMITTED["made_on"]:
        pytest.skip(f"made on {COMMITTED['made_on']}, and this is {made['made_on']}")
    for name in PACKED:
        new, old = export._unpacked(made[name]), export._unpacked(COMMITTED[name])
        torch.testing.assert_close(new, old, rtol=2**-10, atol=2**-14)
    for name in NETWORKS:
        for new, old in zip(made[name], COMMITTED[name], strict=True):
            for part in ("weight", "bias"):
                one, other = export._unpacked(new[part]), export._unpacked(old[part])
                torch.testing.assert_close(one, other, rtol=2**-10, atol=2**-14)


def test_rounded_features_are_as_good(made):
    """On any machine: another phase 1 of the same settings, rounded or not, scores alike."""
    for exported in (made, COMMITTED):
        dictionary, model = export.source(exported)
        predicted = model.classifier(dictionary.test_features).argmax(1)
        right = (predicted == dictionary.test_labels).double().mean()
        assert 0.85 < right < 0.97


def test_the_data_are_small():
    assert export.FILE.stat().st_size < 400_000


def test_the_page_is_one_small_file_that_names_no_other():
    page = build.page()
    assert len(page.encode()) < build.MOST_BYTES
    assert not re.search(r"\{\{\w+\}\}", page)
    links = re.findall(r"\b(?:src|href|action)\s*=\s*[\"']?([^\"'\s>]*)", page)
    assert [one for one in links if one != "data:,"] == []
    addresses = set(re.findall(r"https?://[^\s\"'`)]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not re.search(r"\binnerHTML\b|\beval\(|new Function|document\.write", page)


def test_the_policy_allows_this_script_and_style_alone():
    page = build.page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    for kind, tag in (("script", '<script type="module">'), ("style", "<style>")):
        text = page.split(tag)[1].split(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_modules_keep_their_own_names(tmp_path):
    (tmp_path / "a.js").write_text("const own = 1;\nexport function one() {\n  return own;\n}\n")
    (tmp_path / "start.js").write_text('import { one } from "./a.js";\nconst own = one();\n')
    script = build.bundle(tmp_path / "start.js")
    assert script.index("module_a = ") < script.index("const { one } = module_a;")
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('import { a } from "./start.js";\n', "circle"),
        ('import * as a from "./b.js";\n', "does not know"),
        ("export default 1;\n", "does not know"),
        ("export const A = 1, B = 2;\n", "several names"),
    ],
)
def test_the_build_refuses_what_it_would_get_wrong(tmp_path, text, said):
    (tmp_path / "start.js").write_text('import { a } from "./a.js";\n')
    (tmp_path / "a.js").write_text(text)
    with pytest.raises(ValueError, match=said):
        build.bundle(tmp_path / "start.js")


def test_other_draws_than_the_page_knows_are_refused(monkeypatch):
    """If the lab drew anything else in a step, the page would be held against other numbers."""
    monkeypatch.setattr(export, "PAIR", export.PAIR[:-1])
    with pytest.raises(RuntimeError, match="a step drew"):
        export.record(COMMITTED, 1)

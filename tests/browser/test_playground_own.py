"""The playground's own features: files of all kinds, by button and dropped."""

import pytest
from playing import choose, said, start, until

ROWS = "a,1,2\na,2,1\nb,3,5\nb,4,4\nb,5,4\n"


@pytest.mark.parametrize(
    ("content", "names", "first"),
    [
        (ROWS, ["a", "b"], [1, 2]),
        ("label,x,y\n" + ROWS, ["a", "b"], [1, 2]),
        ("x,y,label\n1,2,a\n2,1,a\n3,5,b\n4,4,b\n", ["a", "b"], [1, 2]),
        ("1,2,0\n2,1,0\n3,5,10\n4,4,10\n3,5,9\n4,4,9\n", ["0", "9", "10"], [1, 2]),
        ("label;x;y\na;1,5;2\na;2,5;1\nb;3;5\nb;4;4\n", ["a", "b"], [1.5, 2]),
        ("a\t1\t2\na\t2\t1\nb\t3\t5\nb\t4\t4\n", ["a", "b"], [1, 2]),
        ('"la ""bel""",x,y\n"a, too",1,2\n"a, too","2",1\n"b\nb",3,5\n"b\nb",4,4\n',
         ["a, too", "b\nb"], [1, 2]),
        ("\ufefflabel,x,y\r\na,1,2\r\na,2,1\r\nb,3,5\r\nb,4,4\r\n\r\n", ["a", "b"], [1, 2]),
        (ROWS.encode("utf-16"), ["a", "b"], [1, 2]),
        ("ä,1,2\nä,2,1\nb,3,5\nb,4,4\n".encode("cp1252"), ["b", "ä"], [1, 2]),
        ("a,1e30,-2E-3\na,-1e30,.5\nb,3,5.\nb,4,4\n", ["a", "b"], [1e30, -0.002]),
        ("a,7,1\na,7,2\nb,7,3\nb,7,4\n", ["a", "b"], [7, 1]),
    ],
    ids=["plain", "header", "label last", "number labels", "semicolons", "tabs", "quotes",
         "bom crlf", "utf-16", "windows-1252", "huge", "flat column"],
)  # fmt: skip
def test_a_table_is_read(opened, content, names, first):
    page = opened()
    choose(page, content)
    page.locator("#own-said", has_text="held out").wait_for()
    until(page, "playground.fixed.kind === 'own'")
    assert page.evaluate("playground.fixed.names") == names
    assert page.evaluate("playground.fixed.dim") == len(first)
    start(page)
    until(page, "playground.state.step > 5")
    row = page.evaluate("playground.state.rows.at(-1)")
    assert all(abs(value) < 1e6 for value in row.values())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("label,x\na,1\na,NaN\nb,1\nb,2\n", "Line 3, column 2 (“x”) is “NaN”"),
        ("label,x\na,1\na,inf\nb,1\nb,2\n", "“inf”: it must be a finite number"),
        ("label,x\na,1\na,\nb,1\nb,2\n", "Line 3, column 2 (“x”) is empty"),
        ("label,x\na,1\na,1e300\nb,1\nb,2\n", "larger than 1e30"),
        ("label,x\na,1\na,1e999\nb,1\nb,2\n", "larger than 1e30"),
        ("label,x\na,1\na,2,3\nb,1\n", "Line 3 has 3 cell(s), and line 1 has 2"),
        ("label,x\na,1\na,2\n", "All 2 rows have the label “a”"),
        ("label,x\na,1\na,2\nb,1\n", "Class “b” has one row, line 4"),
        ("label,x\n,1\na,2\n", "Line 2: the label, column 1, is empty"),
        ("label,x\n" + "a,1\nb,2\n" * 2501, "more than 5,000 rows"),
        ("label," + ",".join(map(str, range(257))) + "\n" + "a" + ",1" * 257 + "\n", "257 numbers"),
        ("label,x\n" + "".join(f"c{k},1\nc{k},2\n" for k in range(101)), "101 different labels"),
        ('label,x\n"a,1\na,2\nb,1\n', "Line 2: a quote is opened and never closed"),
        ("a,1,u\nb,2,v\n", "both hold text"),
        ("hello\nworld\n", "one cell"),
        ("".join(f"{k}.5,{k}.25\n" for k in range(300)), "No column looks like a label"),
        (b"PK\x03\x04rest", "zip or an Excel file"),
        (b"a,1\x00\x00\nb,2\n", "not a text file"),
        (b"GIF89a\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_table_with_something_wrong_says_what_and_where(opened, content, words):
    page = opened()
    choose(page, content)
    page.locator("#told:not([hidden])").wait_for()
    assert words in said(page)
    assert page.evaluate("playground.fixed.kind") == "digits"
    page.locator("[data-step=all]").click()
    until(page, "playground.state.step === 2")  # what was there is as it was


def test_a_giant_file_is_refused_before_it_is_read(opened):
    page = opened()
    page.evaluate("""() => {
        const part = new Blob(["a,1\\n".repeat(2 ** 18)]);
        playground.load(new File(Array(70).fill(part), "giant.csv"));
    }""")
    page.locator("#told", has_text="The file has 70 MB, and at most 64").wait_for()


def test_markup_in_labels_stays_text(opened):
    page = opened("")
    bad = '<img src=x onerror="document.title=1">', "</script><script>document.title=1</script>"
    quoted = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in bad]
    rows = [f"{text},{k},{k + j}\n" for k, text in enumerate(quoted) for j in range(9)]
    choose(page, "".join(rows), name="<b>x</b>.csv")
    until(page, "playground.fixed.kind === 'own'")
    page.locator("#numbers summary").click()
    page.get_by_role("button", name="3 Generated batches alone").click()
    for text in bad:
        assert page.locator("#tables").get_by_text(text[:30]).count()
    assert page.locator("img").count() == 0
    assert page.locator("#own-said b").count() == 0
    assert "does it mix" in page.title()


def test_a_file_is_dropped_and_the_digits_come_back(opened):
    page = opened()
    page.evaluate("""text => {
        const dropped = new DataTransfer();
        dropped.items.add(new File([text], "mine.csv"));
        const tell = kind => document.body.dispatchEvent(
            new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
        tell("dragenter");
        window.veil = !document.getElementById("drop").hidden;
        tell("drop");
    }""", ROWS)  # fmt: skip
    assert page.evaluate("window.veil")
    assert page.locator("#drop").is_hidden()
    until(page, "playground.fixed.kind === 'own'")
    assert "data=own" in page.evaluate("location.hash")
    page.get_by_role("button", name="Back to the digits").click()
    until(page, "playground.fixed.kind === 'digits'")
    until(page, "!location.hash.includes('data=own')")


def test_equal_classes_are_told_and_a_long_tail_is_made(opened):
    page = opened()
    rows = "".join(f"{name},{k % 7},{k % 5}\n" for name in "abc" for k in range(60))
    choose(page, rows)
    page.locator("#own-said", has_text="All classes are equally large").wait_for()
    until(page, "playground.state.settings.label_selection === 'uniform'")
    assert page.locator("#set-label_selection option[value=gamo]").is_disabled()
    page.locator("#tail").check()
    page.locator("#own-said", has_text="45 of the largest class and 2 of the smallest").wait_for()
    until(page, "playground.fixed.counts.join() === '45,10,2'")
    assert not page.locator("#set-label_selection option[value=gamo]").is_disabled()


def test_the_largest_table_trains(opened):
    """5,000 rows of 256 numbers in 20 classes."""
    line = ",".join(str(k % 10) for k in range(255))
    rows = "".join(f"c{k % 20},{k % 17},{line}\n" for k in range(5000))
    page = opened()
    choose(page, rows)
    page.locator("#own-said", has_text="5,000 rows of 256 numbers").wait_for(timeout=120_000)
    until(page, "playground.fixed.kind === 'own'", 60)
    start(page)
    until(page, "playground.state.step > 5", 60)

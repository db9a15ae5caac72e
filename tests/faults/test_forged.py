"""Files of a run that somebody made up: hashes are right, and what they hold is not what it says.

Nothing of this must be loaded as something else, wait for ever, or end in an error without a name.
"""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
import safetensors.torch
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facog_lab import paths, runs
from facog_lab.cli import replay as replay_command
from facog_lab.config import ConfigError
from facog_lab.phase2 import Phase2
from facog_lab.rivals.heads import head_config
from facog_lab.runs import checkpoint, methods, mmap, presets, replay, stages, store
from facog_lab.runs.manifest import as_json
from facog_lab.runs.training import Training
from facog_lab.settings import DictionaryConfig, Phase2Config


@pytest.fixture
def run(outputs):
    made = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    made.save({"a": torch.ones(3)}, {"steps": {"x": [1, 2]}}, {"seconds": 1.0}, True)
    return made


@pytest.fixture(autouse=True)
def _at_most_a_minute():
    """What waits for ever fails."""

    def late(*_):
        raise AssertionError("it waits for ever")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)


def forge(run, kind=None, content=None, change=lambda manifest: None):
    """Puts a content in the place of a run's state or history, and a manifest that fits it."""
    path = run.folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest.pop("digest", None)
    if kind:
        (name,) = (name for name in manifest["files"] if name.startswith(kind))
        facts = {"bytes": len(content), "sha256": disk_hash(content)}
        (run.folder / name).write_bytes(content)
        manifest["files"][name] = facts
    change(manifest)
    path.write_bytes(as_json(manifest | {"digest": store.digest(manifest)}))


def disk_hash(content):
    return hashlib.sha256(content).hexdigest()


# Headers of tensors


def packed(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def about(first, last, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


HEADERS = {
    "two tensors on the same bytes": packed({"a": about(0, 8), "b": about(0, 8)}, bytes(8)),
    "two tensors that overlap": packed({"a": about(0, 8), "b": about(4, 12)}, bytes(12)),
    "a hole": packed({"a": about(0, 8), "b": about(12, 20)}, bytes(20)),
    "bytes of nothing at the end": packed({"a": about(0, 8)}, bytes(12)),
    "a tensor past the end": packed({"a": about(0, 8)}, bytes(4)),
    "a tensor before the data": packed({"a": about(-8, 0)}, bytes(8)),
    "offsets that do not fit the shape": packed({"a": about(0, 8, (3,))}, bytes(8)),
    "offsets the wrong way round": packed({"a": about(8, 0)}, bytes(8)),
    "one offset": packed({"a": about(0, 8) | {"data_offsets": [0]}}, bytes(8)),
    "a negative shape": packed({"a": about(0, 8, (-1, -2))}, bytes(8)),
    "a shape of a fraction": packed({"a": about(0, 8, (2.0,))}, bytes(8)),
    "a shape of True": packed({"a": about(0, 4, (True,))}, bytes(4)),
    "no shape": packed({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "a shape whose product is too large": packed({"a": about(0, 8, (2**61, 2**61))}, bytes(8)),
    "an empty shape beside a huge one": packed({"a": about(0, 0, (0, 2**62, 2**62))}),
    "an unknown type": packed({"a": about(0, 8, dtype="F33")}, bytes(8)),
    "a list for a type": packed({"a": about(0, 8, dtype=[])}, bytes(8)),
    "a list for a tensor": packed({"a": [0, 8]}, bytes(8)),
    "a list for a header": packed([]),
    "null for a header": packed(b"null"),
    "no JSON": packed(b"{", bytes(8)),
    "a name twice": packed(b'{"a":%b,"a":%b}' % (
        json.dumps(about(0, 8)).encode(), json.dumps(about(8, 16)).encode()), bytes(16)),
    "a number twice in a tensor": packed(
        b'{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "deep nesting": packed(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "bytes that are no text": packed(b"{\xff}"),
    "a header longer than the file": packed({"a": about(0, 8)}, bytes(8), length=10**6),
    "a header of 2^63 bytes": packed({"a": about(0, 8)}, bytes(8), length=2**63),
    "a header longer than any": packed(b"{}", length=200_000_000),
    "seven bytes": b"1234567",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_a_forged_header_is_refused_and_the_file_named(kind, run):
    forge(run, "state", HEADERS[kind])
    with pytest.raises(store.DamagedError, match=r"state-\w+\.safetensors has (a bad|no) header"):
        run.load()


def test_the_state_before_a_forged_one_is_used(outputs):
    run = store.Run("digits", "dictionary", DictionaryConfig(), "upstream")
    for value in (1.0, 2.0):
        run.save({"a": torch.tensor([value])}, {}, {"seconds": 1.0}, True)
    forge(run, "state", HEADERS["two tensors that overlap"])
    with pytest.warns(store.RunWarning, match="has a bad header"):
        assert run.load().tensors["a"].item() == 1.0


NUMBERS = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**63, 1.0, True, None, "8"]))
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "U8", "F16", "BOOL", "X"]),
        "shape": st.lists(st.integers(0, 4), max_size=3),
        "data_offsets": st.lists(NUMBERS, min_size=1, max_size=3),
    }
)
NEAR = st.lists(  # as they should be, but for one number
    st.tuples(st.sampled_from(["F32", "I64", "U8"]), st.lists(st.integers(0, 3), max_size=2)),
    max_size=4,
)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_what_is_read_is_what_the_library_reads(tmp_path_factory, data):
    """Of headers at random, and of good ones with a number changed: both read it, or neither."""
    if data.draw(st.booleans()):
        header = data.draw(st.dictionaries(st.sampled_from("abc"), TENSORS, max_size=3))
        size = data.draw(st.integers(0, 40))
    else:
        header, size = {}, 0
        for i, (dtype, shape) in enumerate(data.draw(NEAR)):
            last = size + torch.empty(shape).numel() * {"F32": 4, "I64": 8, "U8": 1}[dtype]
            header[f"t{i}"] = about(size, last, shape, dtype)
            size = last
        if header and data.draw(st.booleans()):
            which = header[data.draw(st.sampled_from(sorted(header)))]
            place = data.draw(st.integers(0, 1))
            which["data_offsets"][place] += data.draw(st.integers(-4, 4))
        size += data.draw(st.sampled_from([0, 0, 0, 1, 4]))
    content = packed(header, bytes(i % 256 for i in range(size)))
    path = tmp_path_factory.mktemp("forged") / "state"
    path.write_bytes(content)
    try:
        expected = safetensors.torch.load(content)
    except Exception:
        with pytest.raises(store.DamagedError):
            mmap.read(path)
        return
    found = mmap.read(path).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


# Manifests


MANIFESTS = {
    "no files": lambda m: m.update(files={}),
    "no state": lambda m: m["files"].pop(min(n for n in m["files"] if n.startswith("state"))),
    "two states": lambda m: m["files"].update(
        {"state-0.safetensors": {"bytes": 0, "sha256": "0" * 64}}
    ),
    "files as a list": lambda m: m.update(files=[]),
    "a size of a text": lambda m: next(iter(m["files"].values())).update(bytes="1"),
    "a negative size": lambda m: next(iter(m["files"].values())).update(bytes=-1),
    "a hash that is none": lambda m: next(iter(m["files"].values())).update(sha256="x"),
    "no hash": lambda m: next(iter(m["files"].values())).pop("sha256"),
    "no record": lambda m: m.pop("record"),
    "a record of another kind": lambda m: m.update(record=[1]),
    "no environment": lambda m: m["record"].pop("environment"),
    "complete in words": lambda m: m.update(complete="yes"),
    "no upstream": lambda m: m.pop("upstream"),
    "no key": lambda m: m.pop("key"),
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_is_none(kind, run):
    forge(run, change=MANIFESTS[kind])
    with pytest.raises(store.DamagedError, match=r"manifest\.json is no manifest \("):
        run.load()


@pytest.mark.parametrize("value", [None, "1", 2, [], {}])
def test_a_manifest_of_another_format(value, run):
    forge(run, change=lambda m: m.update(format=value))
    with pytest.raises(store.StoreError, match=r"is of another run: format .*, here 1"):
        run.load()


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b"\xff", b"{"])
def test_what_another_runs_config_says_is_not_taken_on_trust(content, run):
    """It is read to say what differs."""
    (run.folder / "config.json").write_bytes(content)
    forge(run, change=lambda m: m.update(key="0" * 12))
    with pytest.raises(store.StoreError, match="is of another run"):
        run.load()


# Histories


HISTORIES = {
    "a list": b"[]",
    "null": b"null",
    "a table that is none": b'{"steps": [1]}',
    "a column that is none": b'{"steps": {"x": 1}}',
    "a column of a text": b'{"steps": {"x": "abc"}}',
    "columns of two lengths": b'{"steps": {"x": [1], "y": [1, 2]}}',
    "a list in a column": b'{"steps": {"x": [[1]]}}',
    "a dictionary in a column": b'{"steps": {"x": [{"a": 1}]}}',
    "no JSON": b"{",
    "deep nesting": b'{"a":' * 50_000,
    "a number of a million digits": b'{"steps": {"x": [' + b"1" * 10**6 + b"]}}",
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_a_history_that_is_none(kind, run):
    forge(run, "history", HISTORIES[kind])
    with pytest.raises(store.DamagedError, match=r"history-\w+\.json is no history \("):
        run.load()


def experiment():
    return presets.experiment(
        phase1={"epochs": 1, "warmup_epochs": 0}, phase2={"epochs": 2, "batch_size": 64}
    )


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    """A run that was steered, as its folder was kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACOG_OUTPUTS", str(tmp_path_factory.mktemp("steered")))
        made = replay.Steered(runs.open(experiment(), "cpu"))
        made.loop.controls = made.loop.controls.replace(n_s=2)
        list(made)
        yield made.folder


COLUMNS = {
    "a control is missing": lambda t: t.pop("n_s"),
    "a control of another type": lambda t: t.update(n_s=["two"] * len(t["n_s"])),
    "a control out of its range": lambda t: t.update(n_s=[10**6] * len(t["n_s"])),
    "a control that is no number": lambda t: t.update(lambda_adv=[float("nan")] * len(t["n_s"])),
    "a control of another name": lambda t: t.update(oversampler=["os.system"] * len(t["n_s"])),
    "an empty control": lambda t: t.update(n_s=[None] * len(t["n_s"])),
    "steps cut off": lambda t: [column.pop() for column in t.values()],
    "steps doubled": lambda t: [column.extend(column[:]) for column in list(t.values())],
    "no steps": lambda t: t.clear(),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_forged_columns_of_a_steered_run(kind, steered, monkeypatch):
    monkeypatch.setenv("FACOG_OUTPUTS", str(steered.parents[2]))
    (path,) = steered.glob("history-*.json")
    before = {p: p.read_bytes() for p in steered.iterdir()}
    try:
        history = json.loads(path.read_bytes())
        COLUMNS[kind](history["steps"])

        class Folder:
            folder = steered

        forge(Folder, "history", json.dumps(history).encode())
        with pytest.raises(store.StoreError, match=str(steered)) as error:
            replay.repeat(steered, "cpu")
        assert "Traceback" not in str(error.value)
        assert replay_command.main([str(steered)]) == 1
    finally:
        for name, content in before.items():
            name.write_bytes(content)


EXPERIMENTS = {
    "none": lambda r: r.update(experiment=None),
    "a list": lambda r: r.update(experiment=[]),
    "a stage is missing": lambda r: r["experiment"].pop("data"),
    "a stage of another type": lambda r: r["experiment"].update(data=[1]),
    "a stage more": lambda r: r["experiment"].update(os={"system": "touch owned"}),
    "a setting is missing": lambda r: r["experiment"]["phase2"].pop("n_s"),
    "a setting more": lambda r: r["experiment"]["phase2"].update(nn=1),
    "a setting out of its range": lambda r: r["experiment"]["phase1"].update(epochs=-1),
    "no device": lambda r: r.pop("device"),
}


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_forged_experiments_of_a_steered_run(kind, steered, monkeypatch):
    monkeypatch.setenv("FACOG_OUTPUTS", str(steered.parents[2]))
    path = steered / "manifest.json"
    before = path.read_bytes()

    class Folder:
        folder = steered

    try:
        forge(Folder, change=lambda m: EXPERIMENTS[kind](m["record"]))
        if kind == "no device":  # which only an error would name
            replay.repeat(steered, "cpu")
            return
        with pytest.raises(store.StoreError, match=f"{path}: its experiment is none"):
            replay.repeat(steered, "cpu")
    finally:
        path.write_bytes(before)


# States that fit the format and not the loop


def phase2_run():
    of = tiny.dictionary()
    loop = Phase2(Phase2Config(epochs=2, batch_size=16), of, tiny.model(of), "cpu")
    return loop, store.Run("tiny", "phase2", loop.config, "upstream")


def training():
    loop, run = phase2_run()
    return Training(loop, run, "Phase 2", {})


STATES = {
    "no step": lambda t, h: t.pop("step"),
    "several steps": lambda t, h: t.update(step=torch.arange(3)),
    "half a step": lambda t, h: t.update(step=torch.tensor(1.5)),
    "a step past the last": lambda t, h: t.update(step=torch.tensor(10**6)),
    "another step than the history's": lambda t, h: t.update(step=torch.tensor(3)),
    "a weight is missing": lambda t, h: t.pop("classifier.0.weight"),
    "a weight of another shape": lambda t, h: t.update({"classifier.0.weight": torch.ones(1)}),
    "a momentum of another shape": lambda t, h: t.update(
        {next(n for n in t if n.startswith("optimizer.")): torch.ones(2, 2, 2)}
    ),
    "a slot of no parameter": lambda t, h: t.update({"optimizer.99.momentum": torch.ones(1)}),
    "a slot without a number": lambda t, h: t.update({"optimizer.x.momentum": torch.ones(1)}),
    "a slot without a name": lambda t, h: t.update({"optimizer.0": torch.ones(1)}),
    "no steps in the history": lambda t, h: h.pop("steps"),
    "no epochs in the history": lambda t, h: h.pop("epochs"),
    "steps missing in the history": lambda t, h: [c.pop() for c in h["steps"].values()],
    "no seconds": None,
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_that_fits_no_loop_says_so(kind, outputs):
    first = training()
    first.finish()
    tensors, history = dict(checkpoint.state(first.loop)), json.loads(json.dumps(first.history))
    record = {"seconds": 1.0}
    if STATES[kind]:
        STATES[kind](tensors, history)
    else:
        record = {}
    first.run.save(tensors, history, record, True)
    with pytest.raises(store.StoreError, match=r"was made by version .* and does not fit"):
        training()


# Things in the place of files


def pipe(path):
    os.mkfifo(path)


THINGS = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a link to a device": lambda path: os.symlink("/dev/zero", path),
    "a link to nowhere": lambda path: os.symlink("/nowhere/at/all", path),
    "a link to itself": lambda path: os.symlink(path, path),
    "a file that may not be read": lambda path: (Path(path).touch(), os.chmod(path, 0)),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", ["manifest.json", "state-*", "history-*"])
def test_a_thing_in_the_place_of_a_runs_file(thing, name, run):
    (path,) = run.folder.glob(name)
    content = path.read_bytes()
    path.unlink()
    THINGS[thing](path)
    if name == "manifest.json" and thing in ("a link to nowhere", "a link to itself"):
        assert run.load() is None  # as if there were none
        return
    with pytest.raises(store.DamagedError, match=path.name):
        run.load()
    assert content


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_in_the_place_of_a_runs_config_is_said(thing, run):
    path = run.folder / "config.json"
    path.unlink()
    THINGS[thing](path)
    with pytest.warns(store.RunWarning, match=r"config\.json (is|cannot)"):
        assert run.load().tensors["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("place", ["", "dictionary", "digits", "outputs"])
@pytest.mark.parametrize("link", [False, True])
def test_a_file_in_the_place_of_a_folder_is_said_before_anything_is_trained(
    place, link, outputs, monkeypatch
):
    run = stages.run_of(experiment(), "phase1")
    parts = {"": run.folder, "dictionary": run.folder.parent, "digits": run.folder.parents[1]}
    path = parts.get(place, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/nowhere/at/all") if link else path.write_text("a file")

    def trains(*_):
        raise AssertionError("trained for nothing")

    monkeypatch.setattr(stages.phase1_loop.Phase1, "__next__", trains)
    kind = "a link that leads nowhere" if link else "a file"
    with pytest.raises(store.StoreError, match=f"{path} is {kind}, and a folder belongs there"):
        runs.open(experiment(), "cpu").phase1.finish()


def test_a_save_does_not_follow_a_link_that_waits_for_it(run, tmp_path, monkeypatch):
    """Who knows the name of the file that is written first could have it written elsewhere."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    opened = Path.open

    def planted(path, mode="r", *rest, **options):
        if path.name.endswith(".part") and ("w" in mode or "x" in mode):
            (path.parent / ".planted").symlink_to(precious)
            (path.parent / ".planted").replace(path)
        return opened(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", planted)
    with pytest.raises(store.StoreError, match="File exists"):
        run.save({"a": torch.zeros(3)}, {}, {"seconds": 1.0}, True)
    with (
        pytest.raises(store.StoreError, match="File exists"),
        run.reserve({"a": (torch.int64, (2,))}),
    ):
        pass
    assert precious.read_text() == "precious"
    monkeypatch.undo()
    assert run.load().tensors["a"].tolist() == [1, 1, 1]


def test_what_a_dead_process_left_is_no_hindrance(run):
    name = f".manifest.json.{os.getpid()}-{paths.threading.get_ident()}.part"
    (run.folder / name).write_text("half a manifest")
    run.save({"a": torch.zeros(3)}, {}, {"seconds": 1.0}, True)
    assert run.load().tensors["a"].tolist() == [0, 0, 0]
    assert not list(run.folder.glob(".*"))


# A dictionary


@pytest.mark.parametrize("damage", ["state", "manifest", "header"])
def test_a_damaged_dictionary_is_made_again_from_its_phase_1(damage, outputs, monkeypatch):
    settings = experiment()
    before = runs.open(settings, "cpu").dictionary.features.clone()  # its file is mapped no more
    run = stages.run_of(settings, "dictionary")
    names = {path.name for path in run.folder.iterdir()}
    (state,) = run.folder.glob("state-*")
    if damage == "header":
        forge(run, "state", HEADERS["a hole"])
    else:
        path = state if damage == "state" else run.folder / "manifest.json"
        path.write_bytes(path.read_bytes()[:-9])

    def trains(*_):
        raise AssertionError("phase 1 was trained again")

    monkeypatch.setattr(stages.phase1_loop.Phase1, "__next__", trains)
    with pytest.warns(store.RunWarning, match=rf"{run.folder}/.*It is made again\."):
        again = runs.open(settings, "cpu").dictionary
    assert torch.equal(again.features, before)
    assert {path.name for path in run.folder.iterdir()} == names
    assert run.load().complete


def test_errors_can_be_sent_from_one_process_to_another():
    import pickle

    for error in (
        store.DamagedError(Path("a"), "is damaged"),
        store.StoreError("a"),
        ConfigError("b"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


DICTIONARIES = {
    "labels of another order": lambda t: t.update(labels=t["labels"].flip(0)),
    "labels out of range": lambda t: t["labels"].fill_(10**9),
    "negative labels": lambda t: t["labels"].fill_(-1),
    "test labels of another order": lambda t: t.update(test_labels=t["test_labels"].flip(0)),
    "image numbers out of range": lambda t: t["images"].fill_(10**12),
    "one image for all": lambda t: t["images"].fill_(0),
    "images of other classes": lambda t: t.update(images=t["images"].flip(0)),
    "features missing": lambda t: t.update(features=t["features"][:-1]),
    "features of two widths": lambda t: t.update(test_features=t["test_features"][:, 1:]),
    "whole numbers for features": lambda t: t.update(features=t["features"].long()),
    "no features": lambda t: t.pop("features"),
    "a tensor more": lambda t: t.update(extra=torch.ones(1)),
    "features in a row": lambda t: t.update(features=t["features"].flatten()),
}


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_a_forged_dictionary_is_not_of_these_data(kind, outputs):
    _ = runs.open(experiment(), "cpu").dictionary
    run = stages.run_of(experiment(), "dictionary")
    saved = run.load()
    tensors = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    DICTIONARIES[kind](tensors)
    run.save(tensors, {}, saved.record, True)
    with pytest.raises(store.StoreError, match=rf"{run.folder} holds no features of digits \("):
        _ = runs.open(experiment(), "cpu").dictionary


HEADS = {
    "a weight is missing": (lambda t: t.popitem(), {}),
    "a weight of another shape": (lambda t: t.update({min(t): torch.ones(1)}), {}),
    "nothing chosen": (lambda t: None, {"chosen": None}),
    "seconds in words": (lambda t: None, {"seconds": "a few"}),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_forged_head_is_none(kind, outputs):
    of = tiny.dictionary()
    given = stages.Source("tiny", of, tiny.model(of), "key", "0" * 64, {})
    methods.head_on(given, "crt", 1, 0, "cpu")
    run = store.Run("tiny", "head", head_config("crt", epochs=1, seed=0), "key")
    saved = run.load()
    tensors = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    change, record = HEADS[kind]
    change(tensors)
    run.save(tensors, saved.history, saved.record | record, True)
    with pytest.raises(store.StoreError, match=rf"{run.folder} holds no head 'crt'"):
        methods.head_on(given, "crt", 1, 0, "cpu")

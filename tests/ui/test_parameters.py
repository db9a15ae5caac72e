import json
import sys

import nbformat
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from pydantic import Field
from traitlets.config import Config as Traits

from facog_lab.config import Config, ConfigError
from facog_lab.runs import presets
from facog_lab.runs.experiment import Experiment
from facog_lab.ui import parameters
from facog_lab.ui.parameters import ParameterError, check, from_values

IMPORTS = "from typing import Optional\n\nfrom facog_lab.ui import parameters\n\nparameters.guard()"
PARAMETERS = """
dataset: str = "digits"  # the data set
seed: int = 0  # of everything
n_s: int = 5  # features mixed
lambda_asc: float = 0.1  # weight of L_asc
epochs: Optional[int] = None  # None: the preset's
phase1_epochs: int | None = None  # None: the preset's
device: str = "auto"
""".strip()
CHECK = 'settings = parameters.check("phase2")\ndone = "checked"'


# Values by name


def test_every_name_goes_where_it_belongs():
    made = from_values(
        {
            "dataset": "cifar10",
            "imbalance_ratio": 50,
            "preset": "paper",
            "seed": 3,
            "n_s": 7,
            "phase1_epochs": 2,
            "dictionary_views": 1,
            "device": "cpu",
        },
        "phase2",
    )
    assert isinstance(made, Experiment)
    assert (made.data.dataset, made.data.imbalance_ratio) == ("cifar10", 50)
    assert (made.phase1.epochs, made.phase1.architecture) == (2, "resnet32")
    assert made.dictionary.views == 1
    assert (made.phase2.n_s, made.phase2.epochs) == (7, 40)
    assert made.phase1.seed == made.dictionary.seed == made.phase2.seed == made.seed == 3
    assert (made.preset, made.device, made.protocol) == ("paper", "cpu", "full")


@pytest.mark.parametrize("main", ["data", "phase1", "dictionary", "phase2"])
def test_no_values_are_the_preset(main):
    made, preset = from_values({}, main), presets.experiment()
    assert {k: getattr(made, k) for k in vars(preset)} == vars(preset)


def test_none_is_the_presets_value():
    assert from_values({"epochs": None, "dataset": "mnist"}, "phase1").phase1 == (
        presets.experiment(data={"dataset": "mnist"}).phase1
    )


@pytest.mark.parametrize(
    ("value", "number"), [("1e-3", 1e-3), (1, 1.0), ("0.5", 0.5), (" 2 ", 2.0)]
)
def test_numbers_may_come_as_texts(value, number):
    assert from_values({"lambda_asc": value}, "phase2").phase2.lambda_asc == number


@pytest.mark.parametrize(
    ("main", "name", "value", "words"),
    [
        ("phase2", "n_s", 0, ["n_s = 0", "a whole number, at least 1, at most 20"]),
        ("phase2", "n_s", 2.5, ["n_s = 2.5", "a whole number"]),
        ("phase2", "n_s", True, ["n_s = True", "a whole number"]),
        ("phase2", "lambda_adv", float("nan"), ["lambda_adv = nan", "a number"]),
        ("phase2", "lambda_adv", "much", ["lambda_adv = 'much'", "a number, at least 0"]),
        ("phase2", "label_selection", "gamma", ["one of 'gamo', 'inverse', 'uniform', 'as_found'"]),
        ("phase2", "phase1_epochs", -3, ["phase1_epochs = -3", "at least 1"]),
        ("phase1", "epochs", -3, ["epochs = -3", "at least 1"]),
        ("data", "dataset", "fashion-mnist", ["dataset = 'fashion-mnist'", "'fashion_mnist'"]),
        ("data", "dataset", 5, ["dataset = 5", "a text"]),
        ("data", "image_root", "x", ["image_root = 'x'", "digits has no use"]),
        ("phase2", "seed", "x", ["seed = 'x'", "a whole number"]),
        ("phase2", "preset", "big", ["preset = 'big'", "'auto', 'cpu', 'paper'"]),
        ("phase2", "device", "tpu", ["device = 'tpu'", "'auto', 'cpu', 'cuda'"]),
        ("phase2", "protocol", "gamo", ["protocol = 'gamo'", "digits", "'full'"]),
        ("phase2", "n-s", 3, ["'n-s'", "Did you mean 'n_s'?"]),
        ("phase2", "phase1_epoch", 3, ["Did you mean 'phase1_epochs'?"]),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(main, name, value, words):
    with pytest.raises(ParameterError) as caught:
        from_values({name: value}, main)
    assert all(word in str(caught.value) for word in words), caught.value
    assert str(caught.value).count("\n") == 0


def test_all_that_is_wrong_is_said_at_once():
    wrong = {"n_s": 0, "seed": -1, "dataset": "mnits", "phase1_lr": 0, "lamda_adv": 2, "epochs": 3}
    with pytest.raises(ConfigError) as caught:
        from_values(wrong, "phase2")
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for name in ("n_s", "seed", "dataset", "phase1_lr", "lamda_adv"):
        assert sum(line.startswith((f"{name} = ", f"There is no setting named '{name}'"))
                   for line in lines) == 1  # fmt: skip


def test_a_preset_that_a_data_set_does_not_have():
    with pytest.raises(ParameterError, match="preset = 'cpu': imagenet_lt"):
        from_values({"preset": "cpu", "dataset": "imagenet_lt"}, "phase2")


def test_cuda_without_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ParameterError, match=r"device = 'cuda': PyTorch sees no GPU"):
        from_values({"device": "cuda"}, "phase1")


class MapConfig(Config):
    perplexity: float = Field(30.0, ge=2, le=100)


def test_a_notebooks_own_settings():
    made = from_values({"perplexity": "5", "epochs": 3}, "phase2", MapConfig)
    assert made.extra == MapConfig(perplexity=5)
    with pytest.raises(ParameterError, match=r"perplexity = 1: .* at least 2, at most 100"):
        from_values({"perplexity": 1}, "phase2", MapConfig)
    with pytest.raises(ParameterError, match="no setting named 'perplexity'"):
        from_values({"perplexity": 5}, "phase2")


def test_outside_ipython():
    assert parameters.get_ipython() is None
    parameters.guard()
    namespace = {"n_s": "3", "epochs": None, "other": object()}
    assert check("phase2", namespace=namespace).phase2.n_s == 3
    assert namespace["n_s"] == 3


# Cells


class Notebook:
    """An IPython shell in this process; its cells run as a kernel's do."""

    def __init__(self, shell):
        self.shell, self.variables = shell, shell.user_ns

    def run(self, cell):
        self.shell.run_cell(cell).raise_error()

    def refuses(self, cell):
        outcome = self.shell.run_cell(cell + "\nran = True")
        assert "ran" not in self.variables
        assert isinstance(outcome.error_before_exec, ParameterError)
        return str(outcome.error_before_exec)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    traits = Traits()
    traits.HistoryManager.enabled = False
    hook = sys.displayhook, sys.excepthook
    yield Notebook(InteractiveShell.instance(config=traits))
    InteractiveShell.clear_instance()
    sys.displayhook, sys.excepthook = hook


def injected(**values):
    """The cell that papermill makes of parameters."""
    from papermill.translators import PythonTranslator

    return PythonTranslator.codify(values)


def test_from_top_to_bottom(notebook):
    for cell in (IMPORTS, PARAMETERS, CHECK, "import os; x = 2 * n_s"):
        notebook.run(cell)
    assert notebook.variables["x"] == 10
    assert notebook.variables["settings"] == from_values({}, "phase2")


def test_overrides_are_checked_and_written_back(notebook):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(injected(n_s="7", lambda_asc="1e-3", epochs=None, dataset=None, device="cpu"))
    notebook.run(CHECK)
    found = notebook.variables
    assert (found["n_s"], found["lambda_asc"], found["device"]) == (7, 1e-3, "cpu")
    assert found["epochs"] is None  # so that another preset may still set it
    assert found["dataset"] == "digits"  # which the cells below may use
    assert found["settings"].phase2.n_s == 7


@pytest.mark.parametrize("left", [None, "None"])
def test_what_is_left_to_the_preset(notebook, left):
    """None, or the text that a shell's `-r` and a sweep's lists send for it."""
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(injected(epochs=left, n_s=left, dataset=left, lambda_asc=left))
    notebook.run(CHECK)
    found = notebook.variables
    assert found["settings"] == from_values({}, "phase2")
    assert found["settings"].phase2.epochs == 200
    assert found["epochs"] is None  # as the parameters cell has it
    assert (found["n_s"], found["dataset"], found["lambda_asc"]) == (5, "digits", 0.1)


def test_an_override_cannot_pose_as_the_parameters_cell(notebook):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS.replace("seed: int = 0", "seed: int = 4"))
    notebook.run(injected(**{"n_s: int": 6}))
    notebook.run(CHECK)
    settings = notebook.variables["settings"]
    assert (settings.phase2.n_s, settings.seed) == (6, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), [1, {"a": None}]])
def test_every_value_of_papermill_reaches_the_check(notebook, value):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(injected(n_s=value))
    with pytest.raises(ParameterError, match=r"n_s = .*whole number"):
        notebook.run(CHECK)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("n_ss", "n_s"), ("lambda_acs", "lambda_asc"), ("n-s", "n_s"), ("ns", "n_s")],
)
def test_an_unknown_name_is_refused_with_the_nearest(notebook, name, meant):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    message = notebook.refuses(injected(**{name: 5}))
    assert f"There is no setting named {name!r}. Did you mean {meant!r}?" in message
    assert "Known: dataset, seed, n_s," in message


CODE = [
    "n_s; ran = open('ran', 'w'); x",
    "n_s = 5; ran = open('ran', 'w'); x",
    "ran = open('ran', 'w')\nn_s",
    "n_s\n!touch ran\nn_s",
    "n_s\n%run ran\nn_s",
    "n_s: open('ran', 'w')",
    "n_s: Optional[open('ran', 'w')]",
    "n_s = ran = open('ran', 'w') or n_s",
    "settings = parameters.check('phase2'); ran = open('ran', 'w'); n_s",
    "settings = parameters.check('phase2')\nran = open('ran', 'w')\nn_s",
    "settings = parameters.check('phase2') #",
    "ran = open('ran', 'w'); parameters.guard()\nn_s",
    "ran = open('ran', 'w'); parameters.guard() #",
    "parameters",
    "parameters.check",
    "n_s[open('ran', 'w')]",
    "n_s, ran",
    "*n_s, ran",
    "n_s = float('nan', x=open('ran', 'w')); n_s",
    'n_s = f\'{open("ran", "w")}\'; n_s',
    "def f(): pass\nn_s",
    "'''\nn_s",
    "n_s\\",
    "n_s \x00",
    "",
]


@pytest.mark.parametrize("name", CODE)
def test_a_name_never_becomes_code(notebook, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    cell = injected(**{name: 5})
    outcome = notebook.shell.run_cell(cell)
    assert outcome.error_before_exec is not None
    assert not (tmp_path / "ran").exists()
    assert "ran" not in notebook.variables
    assert notebook.variables["n_s"] == 5
    message = notebook.refuses("a = 1")  # and what follows does not run either
    assert "no setting" in message


@pytest.mark.parametrize(
    "value",
    [
        '"; import os; x = "',
        "\\",
        '\\"; ran = 1 #',
        "{ran}",
        "a\nran = 1",
        "'''",
        "=",
        "\u2028ran = 1",
    ],
)
def test_a_value_never_becomes_code(notebook, value):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(injected(dataset=value))
    assert notebook.variables["dataset"] == value
    assert "ran" not in notebook.variables
    with pytest.raises(ParameterError, match="dataset = "):
        notebook.run(CHECK)


def test_the_parameters_cell_holds_values_alone(notebook):
    notebook.run(IMPORTS)
    message = notebook.refuses("n_s: int = 5\nepochs: int = 2 * n_s")
    assert "epochs: int = 2 * n_s" in message
    assert "10, not 2 * 5" in message
    notebook.run(PARAMETERS)  # mended
    notebook.run(CHECK)


def test_nothing_else_runs_before_the_check(notebook):
    notebook.run(IMPORTS)
    with pytest.raises(ParameterError, match="run the parameters cell first"):
        notebook.run(CHECK)
    notebook.run(PARAMETERS)
    for cell in ("n_s", "import os", "%pwd", "!ls", "%%time\nn_s = 4", "# a comment\nimport os"):
        assert "parameters.check()" in notebook.refuses(cell)
    notebook.run("# a comment alone")
    notebook.run(CHECK)
    notebook.run("import os")


def test_any_order_of_an_interactive_session(notebook):
    for cell in (IMPORTS, IMPORTS, PARAMETERS, IMPORTS, PARAMETERS, PARAMETERS, CHECK, CHECK):
        notebook.run(cell)
    # The parameters cell, edited and run again: checked before anything else runs.
    notebook.run(PARAMETERS.replace("n_s: int = 5", "n_s: int = 9"))
    assert "parameters.check()" in notebook.refuses("import os")
    notebook.run(CHECK)
    assert notebook.variables["settings"].phase2.n_s == 9
    # A value set by hand, as in a console.
    notebook.run("n_s = 3")
    notebook.run(CHECK)
    assert notebook.variables["settings"].phase2.n_s == 3
    notebook.run("n_s = 99")
    with pytest.raises(ParameterError, match="n_s = 99"):
        notebook.run(CHECK)
    assert "parameters.check()" in notebook.refuses("import os")
    # A bad value in the cell, and out of it again.
    notebook.run(PARAMETERS.replace("n_s: int = 5", "n_s: int = 99"))
    for _ in range(2):
        with pytest.raises(ParameterError, match="n_s = 99"):
            notebook.run(CHECK)
    assert "parameters.check()" in notebook.refuses("import os")
    notebook.run(PARAMETERS)
    notebook.run(CHECK)
    # Another name in it: taken if a config has it, refused if none has.
    notebook.run(PARAMETERS + "\noptimizer: str = 'adam'")
    notebook.run(CHECK)
    assert notebook.variables["settings"].phase2.optimizer == "adam"
    notebook.run(PARAMETERS + "\noptimiser: str = 'adam'")
    with pytest.raises(ParameterError, match="Did you mean 'optimizer'"):
        notebook.run(CHECK)
    # The set-up cell, edited.
    notebook.run("import os\n" + IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(CHECK)
    # A line taken out: the preset's value is back.
    notebook.run(PARAMETERS.replace("n_s: int = 5  # features mixed\n", ""))
    notebook.run(CHECK)
    assert notebook.variables["settings"].phase2.n_s == 5
    assert len(notebook.shell.input_transformers_post) == 1


def test_ordinary_cells_are_left_alone_after_the_check(notebook):
    for cell in (IMPORTS, PARAMETERS, CHECK, "a: int = 1", "b = 2", "# c\nc = len('abc')"):
        notebook.run(cell)
    notebook.run("%pwd")
    assert [notebook.variables[name] for name in "abc"] == [1, 2, 3]
    with pytest.raises(SyntaxError):
        notebook.run("d = = 1")
    notebook.run("e = 1")


def test_the_notebook_shows_the_message_alone(notebook, capsys):
    notebook.run(IMPORTS)
    notebook.run(PARAMETERS)
    notebook.run(injected(n_s=0))
    notebook.shell.run_cell(CHECK)
    shown = capsys.readouterr().out.strip()
    assert shown == (
        "ParameterError: n_s = 0: not allowed, it must be a whole number, at least 1, at most 20."
    )


# Through papermill, in kernels


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A notebook with a kernel of another name, seen from another working directory."""
    kernel = tmp_path / "jupyter" / "kernels" / "some-other-name"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Some", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cells = [nbformat.v4.new_code_cell(cell) for cell in (IMPORTS, PARAMETERS, CHECK)]
    cells[1].metadata["tags"] = ["parameters"]
    cells.append(nbformat.v4.new_code_cell("print(settings.phase2.n_s, lambda_asc, device)"))
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(made, tmp_path / "small.ipynb")
    return tmp_path / "small.ipynb"


def run(path, **values):
    output = path.with_name("out.ipynb")
    return papermill.execute_notebook(
        path, output, values, kernel_name="some-other-name", progress_bar=False
    )


def test_papermill_passes_values(small):
    done = run(small, n_s=7, lambda_asc="1e-3", device="cpu")
    assert done.cells[-1].outputs[0].text.strip() == "7 0.001 cpu"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(
            {"n_ss": 7},
            ["There is no setting named 'n_ss'. Did you mean 'n_s'?"],
            marks=pytest.mark.long,
        ),
        ({"n_s; open('ran', 'w'); x": 7}, ["no setting named \"n_s; open('ran', 'w'); x\""]),
        pytest.param(
            {"n_s": 0, "phase1_epochs": "many"},
            ["n_s = 0: ", "phase1_epochs = 'many': "],
            marks=pytest.mark.long,
        ),
    ],
)
def test_papermill_fails_before_any_work(small, values, words):
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        run(small, **values)
    assert caught.value.ename == "ParameterError"
    assert all(word in str(caught.value) for word in words)
    assert "Traceback" not in str(caught.value)
    assert not (small.parent / "elsewhere" / "ran").exists()
    written = nbformat.read(small.with_name("out.ipynb"), 4)
    assert written.cells[-1].execution_count is None


def test_papermill_lists_the_parameters(small):
    listed = papermill.inspect_notebook(small)
    assert listed["n_s"]["help"] == "features mixed"
    assert listed["epochs"]["inferred_type_name"] == "Optional[int]"

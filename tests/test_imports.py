"""What an import costs, and that modules import upward only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ser_keras

PACKAGE = Path(ser_keras.__file__).parent
HEAVY = {"tensorflow", "tensorflow_io", "keras", "librosa", "matplotlib", "scipy", "sklearn", "gradio"}
HEAVY |= {"soundfile", "av"}

ORDER = (
    *("__init__", "errors", "terminal", "files", "stored", "rendering", "spelling", "labels", "config"),
    *("libsndfile", "media", "sound_files", "usable"),
    *("display", "prediction", "answer_formats", "outputs", "protocol", "transports", "client"),
    *("corpora.utterance", "corpora.consistency", "corpora.kinds", "corpora.listing", "corpora.naming"),
    *("corpora.levels", "corpora.layout", "corpora.agreement", "corpora.table", "corpora.recognition"),
    *(
        "corpora.iemocap",
        "corpora.published",
        "corpora.folders",
        "corpora.audiofolder",
        "corpora.manifest",
        "corpora.reading",
        "corpora",
    ),
    *(
        "download.sources",
        "download.fetching",
        "download.unpacking",
        "download.libraries",
        "download.corpus",
        "download",
    ),
    *("splits.sides", "splits.parts", "splits.folds", "splits.audit", "splits"),
    *("synthesis", "synthetic"),
    *(
        "branches",
        "resampling",
        "usable_graph",
        "wav_header",
        "wav",
        "windows",
        "audio",
        "clips",
        "clip_cache",
        "recordings",
    ),
    *(
        "features",
        "augmentation",
        "masking",
        "descriptors",
        "long_term",
        "batch_norm",
        "lstm",
        "epochs",
        "batches",
        "padding",
        "preprocessing",
    ),
    *("calibration", "linear_model", "cluster", "distribution", "sharding", "network"),
    *("model_file", "model", "metrics", "checkpoints", "callbacks", "fitting", "training", "refitting"),
    *("explanation", "plots", "svg", "report_text", "report_page", "evaluation", "adaptation", "runs", "scoring"),
    *("crossval.results", "crossval.table", "crossval.journal", "crossval"),
    *("model_card", "serving", "export_check", "warmup", "export", "graph_check"),
    *("inference", "beam", "demo"),
    *("conversion.graph", "conversion.trial", "conversion.formats", "conversion"),
    *("cli.output", "cli.parser", "cli.flags", "cli.adapting", "cli.train", "cli.crossval", "cli.evaluate"),
    *("cli.predict", "cli.export", "cli.convert", "cli.demo", "cli.download", "cli", "__main__", "train"),
)
"""Each module imports from modules before it only; a new one gets its place here."""


def loaded_by(statement):
    """Return the packages that a fresh Python process has loaded after a statement."""
    code = f"import sys\ntry:\n  {statement}\nexcept SystemExit:\n  pass\nprint('\\n' + ' '.join(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in process.stdout.splitlines()[-1].split()}


def module_files():
    """Return the source file of every module by the module's name, as in `ORDER`."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *packages, name = path.relative_to(PACKAGE).with_suffix("").parts
        is_subpackage = packages and name == "__init__"
        files[".".join(packages if is_subpackage else [*packages, name])] = path
    return files


def imported_modules(source):
    """Return the modules of the package that a source imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {module_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {module_of(f"{node.module}.{alias.name}") for alias in node.names}
    return found - {None}


def module_of(imported):
    """Return the module behind a dotted name, which may end in a function or a class."""
    package, _, name = imported.partition(".")
    if package != "ser_keras":
        return None
    while name and name not in module_files():
        name = name.rpartition(".")[0]
    return name or "__init__"


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import ser_keras", {"__init__"}),
        ("from ser_keras import __version__", {"__init__"}),
        ("import ser_keras.config as settings", {"config"}),
        ("from ser_keras import config, labels", {"config", "labels"}),
        ("from ser_keras.config import AudioConfig, DataConfig", {"config"}),
        ("from ser_keras.cli import main, train", {"cli", "cli.train"}),
        ("def run():\n    from ser_keras.model import ParallelModel", {"model"}),
        ("import keras\nfrom keras import ops", set()),
    ],
)
def test_an_import_is_recognised_in_every_spelling(source, modules):
    assert imported_modules(source) == modules


def test_every_module_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(module_files())


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_from_modules_before_it(name):
    before = set(ORDER[: ORDER.index(name)])
    assert imported_modules(module_files()[name].read_text(encoding="utf-8")) - before == set()


def test_imports_name_the_package():
    relative = [
        f"{name}, line {node.lineno}"
        for name, path in module_files().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []  # the order above is checked by full names


def test_importing_the_package_loads_no_library():
    assert loaded_by("import ser_keras").isdisjoint(HEAVY | {"numpy"})


def test_importing_the_client_loads_neither_tensorflow_nor_a_transport():
    loaded = loaded_by("import ser_keras.client")
    assert loaded.isdisjoint((HEAVY - {"soundfile"}) | {"requests", "grpc", "google"})


def test_importing_the_command_line_loads_no_heavy_library():
    assert loaded_by("import ser_keras.cli").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("ser_keras.train", ["--help"]), ("ser_keras", ["--help"]), ("ser_keras", ["predict", "--help"])],
)
def test_asking_for_help_loads_no_heavy_library(module, arguments):
    statement = f"import runpy; sys.argv[1:] = {arguments}; runpy.run_module({module!r}, run_name='__main__')"
    assert loaded_by(statement).isdisjoint(HEAVY)


def test_a_heavy_library_would_be_seen():
    assert "matplotlib" in loaded_by("import ser_keras.plots")

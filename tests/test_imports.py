"""What an import costs; the order of imports is in setup.cfg, and `make lint` checks it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ser_keras

PACKAGE = Path(ser_keras.__file__).parent
HEAVY = {"tensorflow", "tensorflow_io", "keras", "librosa", "matplotlib", "scipy", "sklearn", "gradio"}
HEAVY |= {"soundfile", "av"}


def loaded_by(statement):
    """Return the packages that a fresh Python process has loaded after a statement."""
    code = f"import sys\ntry:\n  {statement}\nexcept SystemExit:\n  pass\nprint('\\n' + ' '.join(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in process.stdout.splitlines()[-1].split()}


def test_imports_name_the_package():
    relative = [
        f"{path}, line {node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("folder", ["benchmarks", "tests"])
def test_scripts_import_what_there_is(folder):
    """Those that no test runs, such as the benchmarks."""
    for path in (PACKAGE.parent / folder).glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ser_keras"):
                exec(ast.unparse(node), {})  # raises an ImportError that names what is missing


def test_importing_the_package_loads_no_library():
    assert loaded_by("import ser_keras").isdisjoint(HEAVY | {"numpy"})


def test_importing_the_client_loads_neither_tensorflow_nor_a_transport():
    loaded = loaded_by("import ser_keras.client")
    assert loaded.isdisjoint((HEAVY - {"soundfile"}) | {"requests", "grpc", "google"})


@pytest.mark.slow
def test_importing_the_command_line_loads_no_heavy_library():
    assert loaded_by("import ser_keras.cli").isdisjoint(HEAVY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("ser_keras.train", ["--help"]), ("ser_keras", ["--help"]), ("ser_keras", ["predict", "--help"])],
)
def test_asking_for_help_loads_no_heavy_library(module, arguments):
    statement = f"import runpy; sys.argv[1:] = {arguments}; runpy.run_module({module!r}, run_name='__main__')"
    assert loaded_by(statement).isdisjoint(HEAVY)


@pytest.mark.slow
def test_a_heavy_library_would_be_seen():
    assert "matplotlib" in loaded_by("import ser_keras.plots")

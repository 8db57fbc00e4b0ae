"""The notebooks run from top to bottom, and are kept without what a run leaves in them."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import ser_keras

REPOSITORY = Path(ser_keras.__file__).parents[1]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook, kind):
    return [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == kind]


def printed_by(notebook):
    return "".join(output.text for output in outputs_of(notebook, "stream") if output.name == "stdout")


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory):
    """The notebook after a run in an empty working directory, and that directory."""
    directory = tmp_path_factory.mktemp(request.param.stem)
    scratch = tmp_path_factory.mktemp("scratch")
    notebook = nbformat.read(request.param, as_version=4)
    client = NotebookClient(notebook, timeout=600, allow_errors=True, resources={"metadata": {"path": str(directory)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("TMPDIR", str(scratch))
        patch.setenv("IPYTHONDIR", str(scratch))
        client.execute()
    return notebook, directory


def test_there_is_a_notebook():
    assert NOTEBOOKS


def test_no_cell_fails(executed):
    notebook, _ = executed
    assert [f"{error.ename}: {error.evalue}" for error in outputs_of(notebook, "error")] == []


def test_the_last_line_printed_is_a_score_above_chance(executed):
    notebook, _ = executed
    score = re.fullmatch(r"UAR on unseen speakers: (\d\.\d+)", printed_by(notebook).splitlines()[-1])
    assert score
    assert 1 / 8 < float(score[1]) <= 1  # eight emotions


def test_pictures_are_shown_inline(executed):
    notebook, _ = executed
    pictures = [output for output in outputs_of(notebook, "execute_result") if "image/png" in output.data]
    assert len(pictures) == 2  # training curves, confusion matrix


def test_nothing_is_left_in_the_working_directory(executed):
    _, directory = executed
    assert list(directory.iterdir()) == []


@each_notebook
def test_a_notebook_is_kept_without_outputs(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []


@each_notebook
def test_a_notebook_opens_with_prose(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")


@each_notebook
def test_a_notebook_defines_nothing(path):
    sources = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    assert re.findall(r"^\s*(?:def|class) \w+", sources, re.MULTILINE) == []

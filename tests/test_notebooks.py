"""The notebooks run from top to bottom, and are kept without what a run leaves in them."""

import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from serving_double import ServingDouble, warm_up

import ser_keras

pytestmark = pytest.mark.slow

REPOSITORY = Path(ser_keras.__file__).parents[1]
NOTEBOOKS = {path.stem: path for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))}
SERVER = "http://localhost:8501"
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def read(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook, kind):
    return [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == kind]


def printed_by(notebook, stream="stdout"):
    return "".join(output.text for output in outputs_of(notebook, "stream") if output.name == stream)


def shown_by(notebook, kind):
    """Return what cells display of one kind, such as "image/png"."""
    outputs = outputs_of(notebook, "execute_result") + outputs_of(notebook, "display_data")
    return [output.data[kind] for output in outputs if kind in output.data]


def lead_to(notebook, server, clip):
    """Have the cells that ask a server ask another one."""
    asking = [cell for cell in code_cells(notebook) if SERVER in cell.source]
    if any("EmotionClient" in cell.source for cell in asking):
        warm_up(server, clip)
    for cell in asking:
        cell.source = cell.source.replace(SERVER, server.rest_url)


@pytest.fixture(scope="module")
def executed(exported, corpus, make_once):
    """Return a function from a name to the notebook after a run in an empty working directory, and that directory.

    Where a notebook asks a server, one of another model of the same emotions answers.
    """

    def execute(name, folder):
        directory, scratch = folder / "work", folder / "scratch"
        directory.mkdir(), scratch.mkdir()
        notebook = read(name)
        resources = {"metadata": {"path": str(directory)}}
        with pytest.MonkeyPatch.context() as patch, ServingDouble(exported) as server:
            for variable, value in {"PYTHONPATH": REPOSITORY, "TMPDIR": scratch, "IPYTHONDIR": scratch}.items():
                patch.setenv(variable, str(value))
            patch.setenv("NO_PROXY", "*")
            lead_to(notebook, server, next(corpus.rglob("*.wav")))
            NotebookClient(notebook, timeout=600, allow_errors=True, resources=resources).execute()
        nbformat.write(notebook, folder / "executed.ipynb")

    def run(name):
        folder = make_once(name, lambda folder: execute(name, folder))
        notebook = nbformat.read(folder / "executed.ipynb", as_version=4)
        return SimpleNamespace(notebook=notebook, directory=folder / "work")

    return run


def test_the_notebooks_are_numbered():
    assert [name[:2] for name in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_"]


@each_notebook
def test_a_notebook_runs_and_leaves_nothing_in_the_working_directory(name, executed):
    run = executed(name)
    assert [f"{error.ename}: {error.evalue}" for error in outputs_of(run.notebook, "error")] == []
    assert list(run.directory.iterdir()) == []


@each_notebook
def test_nothing_is_complained_of_but_a_score_that_is_too_good(name, executed):
    complaints = printed_by(executed(name).notebook, "stderr")
    assert re.sub(r".*OptimisticScoreWarning: .*\n.*\n", "", complaints) == ""


def test_the_last_line_of_the_first_is_a_score_above_chance(executed):
    notebook = executed("1_quickstart").notebook
    score = re.fullmatch(r"UAR on unseen speakers: (\d\.\d+)", printed_by(notebook).splitlines()[-1])
    assert score
    assert 1 / 4 < float(score[1]) <= 1  # four emotions


def test_what_cannot_be_used_is_shown_with_its_reason(executed):
    first, *_ = [html for html in shown_by(executed("2_your_recordings").notebook, "text/html") if "<table>" in html]
    for name in ("anna_wut_3", "ben_trauer_3", "clara_wut_3", "david_neutral_3"):
        assert f"{name}.wav" in first
    assert "identical audio" in first and "finn_wut_3.wav" in first


def test_the_audit_of_the_mended_manifest_finds_nothing(executed):
    _, second, *_ = [
        html for html in shown_by(executed("2_your_recordings").notebook, "text/html") if "<table>" in html
    ]
    assert "Split audit: nothing found." in second


def test_recordings_are_shown_as_pictures_and_can_be_heard(executed):
    notebook = executed("3_features_and_explanations").notebook
    assert len(shown_by(notebook, "image/png")) >= 4
    assert any("<audio" in html for html in shown_by(notebook, "text/html"))


def test_the_gap_between_speakers_heard_and_new_ones_is_one_picture(executed):
    notebook = executed("4_honest_scores").notebook
    assert len(shown_by(notebook, "image/png")) == 1
    assert "optimistic" in "".join(shown_by(notebook, "text/html"))


def test_the_served_model_answers_with_a_timeline_beside_its_sound(executed):
    notebook = executed("5_export_and_serve").notebook
    assert any("<audio" in html and "display: flex" in html for html in shown_by(notebook, "text/html"))


def test_the_client_is_answered_by_the_server(executed):
    *_, first, second = printed_by(executed("5_export_and_serve").notebook).splitlines()
    assert re.search(r"\.wav: (neutral|sad|angry) \(", first)
    assert re.fullmatch(r"(neutral|sad|angry) \(0\.\d+\)", second)


@each_notebook
def test_a_notebook_is_kept_without_outputs(name):
    assert [cell.source for cell in code_cells(read(name)) if cell.outputs or cell.execution_count is not None] == []


@each_notebook
def test_a_notebook_opens_with_its_number_and_what_it_shows(name):
    title, empty, prose, *_ = read(name).cells[0].source.splitlines()
    assert title.startswith(f"# {name[0]}. ") and not empty and len(prose) > 40


@each_notebook
def test_a_notebook_defines_nothing(name):
    sources = "\n".join(cell.source for cell in code_cells(read(name)))
    assert re.findall(r"^\s*(?:def|class) \w+", sources, re.MULTILINE) == []

"""Scoring in an Apache Beam pipeline gives what Predictor.predict gives."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import prose
import pytest

from ser_keras.errors import InputError
from ser_keras.inference import Predictor

beam = pytest.importorskip("apache_beam")
fileio = pytest.importorskip("apache_beam.io.fileio")
localfilesystem = pytest.importorskip("apache_beam.io.localfilesystem")
pipeline_options = pytest.importorskip("apache_beam.options.pipeline_options")
scoring = pytest.importorskip("ser_keras.beam")

pytestmark = pytest.mark.filterwarnings("default")  # Beam and what it brings warn of one another


class FarAway(localfilesystem.LocalFileSystem):
    """A place that only Beam can read: ``far:///path`` is the local ``/path``."""

    @classmethod
    def scheme(cls):
        return "far"

    def join(self, base, *parts):
        prefix = "far://" if base.startswith("far://") else ""
        return prefix + super().join(base.removeprefix("far://"), *parts)

    def match(self, patterns, limits=None):
        results = super().match([each.removeprefix("far://") for each in patterns], limits)
        for result in results:
            for file in result.metadata_list:
                file.path = f"far://{file.path}"
        return results

    def open(self, path, *arguments, **options):
        return super().open(path.removeprefix("far://"), *arguments, **options)


@pytest.fixture
def recordings(corpus, tmp_path):
    """A folder of six good recordings and two that are broken."""
    for path in sorted(corpus.rglob("*.wav"))[::8]:
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    (tmp_path / "empty.wav").touch()
    return tmp_path


def score(pattern, model, folder):
    """Run a pipeline, and return its two outputs as lists in the order of the files."""
    out = folder / "out"
    with beam.Pipeline(options=pipeline_options.PipelineOptions(["--direct_num_workers=1"])) as pipeline:
        files = pipeline | fileio.MatchFiles(pattern) | fileio.ReadMatches()
        scored = files | scoring.ScoreEmotion(model, max_batch_size=3)
        for name in ("predictions", "errors"):
            lines = scored[name] | f"{name} as JSON" >> beam.Map(json.dumps)
            lines | f"Write {name}" >> beam.io.WriteToText(str(out / name))
    return [written(out, name) for name in ("predictions", "errors")]


def written(folder, name):
    """Return what a pipeline wrote under a name, in the order of the files."""
    lines = [line for path in folder.glob(f"{name}*") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda row: row["file"])


@pytest.mark.slow
def test_results_are_those_of_the_predictor(recordings, exported):
    predictions, errors = score(f"{recordings}/*.wav", exported, recordings)
    predictor = Predictor(exported)
    assert len(predictions) == 6
    for row in predictions:
        expected = predictor.predict(row["file"])
        assert (row["label"], set(row)) == (expected.label, {"file", "label", "confidence", "probabilities"})
        assert row["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
    assert [row["file"].rpartition("/")[2] for row in errors] == ["broken.wav", "empty.wav"]
    assert all("not audio that can be read" in row["error"] for row in errors)


@pytest.mark.slow
def test_files_and_a_model_that_only_beam_can_read_are_copied(recordings, exported):
    near, _ = score(f"{recordings}/*.wav", exported, recordings)
    far, errors = score(f"far://{recordings}/*.wav", f"far://{exported}", recordings)
    assert len(errors) == 2
    assert [row["file"] for row in far] == [f"far://{row['file']}" for row in near]
    assert [row["confidence"] for row in far] == pytest.approx([row["confidence"] for row in near], abs=1e-5)


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_a_dead_letter(recordings, exported, monkeypatch):
    def refuse(self, path, *arguments, **options):
        raise PermissionError("access denied")

    far_model = exported  # it is loaded without the file system that refuses
    monkeypatch.setattr(FarAway, "open", refuse)
    predictions, errors = score(f"far://{recordings}/*.wav", far_model, recordings)
    assert predictions == [] and len(errors) == 8
    assert all("cannot be read: access denied" in row["error"] for row in errors)


def test_a_directory_without_an_export_stops_the_pipeline(recordings):
    with pytest.raises(Exception, match="holds no SavedModel") as error:
        score(f"{recordings}/*.wav", recordings, recordings)
    assert InputError.__name__ in repr(error.value) + str(error.value)


@pytest.mark.slow
def test_the_program_of_the_documentation_runs_as_printed(recordings, exported, tmp_path_factory):
    """Its command, with the recordings and the export of this test, and without processes of its own."""
    root = Path(__file__).parents[1]
    page = (root / "docs" / "scale.md").read_text(encoding="utf-8")
    (program,), (line,) = prose.blocks(page, "python"), prose.shell_lines(page, "python score.py")
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(recordings, folder / "clips")
    (folder / "score.py").write_text(program)
    _, script, pattern, _, output, *_ = shlex.split(line)
    command = [sys.executable, script, pattern.replace("flac", "wav"), str(exported), output]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    bad = ["broken.wav", "empty.wav"]
    answered = [Path(row["file"]).name for row in written(folder / output, "emotions")]
    assert answered == sorted(path.name for path in recordings.glob("*.wav") if path.name not in bad)
    assert [Path(row["file"]).name for row in written(folder / output, "errors")] == bad

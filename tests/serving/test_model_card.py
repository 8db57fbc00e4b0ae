"""What the model card reads out of a run directory."""

import json

import pytest

from ser_keras.errors import InputError
from ser_keras.serving.model_card import read_run

METRICS = {"unweighted_average_recall": 0.5}


@pytest.fixture
def make_run(tmp_path):
    """Return a function from rows of split.csv to a run directory that has them."""

    def make(*rows, dataset_path=("/home/somebody/emodb",), refit=False):
        config = {"dataset_path": dataset_path and list(dataset_path), "data": {"split": "auto", "seed": 3}}
        config["training"] = {"refit": refit}
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
        lines = ["path,start_seconds,end_seconds,emotion,speaker,subset", *(f"x.wav,,,{row}" for row in rows)]
        (tmp_path / "split.csv").write_text("\n".join(lines))
        return tmp_path

    return make


def test_subsets_are_counted(make_run):
    run = make_run("sad,emodb/03,train", "sad,emodb/03,train", "happy,emodb/08,train", "sad,emodb/09,test")
    facts = read_run(run)
    train, val, test = facts["data"]["subsets"]
    assert (train["num_clips"], train["speakers"]) == (3, ["emodb/03", "emodb/08"])
    assert train["emotions"] == {"sad": 2, "happy": 1}
    assert (val["num_clips"], test["num_clips"]) == (0, 1)
    assert facts["metrics"] == METRICS and facts["data"]["seed"] == 3


def test_corpora_are_named_without_their_place_on_the_disk(make_run):
    assert read_run(make_run("sad,a,train"))["data"]["corpora"] == ["emodb"]
    assert read_run(make_run("sad,a,train", dataset_path=None))["data"]["corpora"] == []


def test_it_says_whether_the_model_was_refitted_on_the_validation_set(make_run):
    assert read_run(make_run("sad,a,train", refit=True))["data"]["is_refitted"] is True
    assert read_run(make_run("sad,a,train"))["data"]["is_refitted"] is False


@pytest.mark.parametrize(
    ("rows", "protocol"),
    [
        (("sad,a,train", "sad,b,val", "sad,c,test"), "speakers apart"),
        (("sad,a,train", "sad,b,val", "sad,a,test"), "speakers shared"),
        (("sad,a,train", "sad,b,val", "sad,b,test"), "speakers shared"),
        (("sad,,train", "sad,,val", "sad,,test"), "speakers unknown"),
        (("sad,a,train", "sad,b,val", "sad,,test"), "speakers unknown"),
    ],
)
def test_the_protocol_is_read_from_the_files_themselves(make_run, rows, protocol):
    assert read_run(make_run(*rows))["data"]["protocol"] == protocol


def test_a_run_directory_without_a_file_is_an_error(make_run):
    run = make_run("sad,a,train")
    (run / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"metrics\.json: No such file .*; expected a run directory"):
        read_run(run)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_a_damaged_run_directory_is_an_error(make_run, name):
    run = make_run("sad,a,train")
    (run / name).write_text('{"data"')
    with pytest.raises(InputError, match="is damaged"):
        read_run(run)

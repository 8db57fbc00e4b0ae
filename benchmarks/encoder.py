"""How well a logistic regression tells emotions from the functionals of a frozen encoder.

    python benchmarks/encoder.py --dataset-path path/to/emodb --validation-only
    python benchmarks/encoder.py --dataset-path path/to/ravdess --folds ravdess --validation-only --joined 3

Every clip is encoded once; in each fold the functionals of all speakers but the test speakers are standardised and the
regression is fitted to them. With ``--validation-only`` the validation speakers are scored in place of the test
speakers, to choose a row; a speaker may be in several validation sets. With ``--joined 3`` recordings of three clips of
one speaker and emotion in a row are scored as well, by the regression on single clips.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from tqdm import tqdm

from ser_keras.corpora import Utterance
from ser_keras.model import ParallelModel
from ser_keras.pipeline.datasets import pad_clips
from ser_keras.pipeline.recordings import Recordings
from ser_keras.preprocessing import read_recordings
from ser_keras.presets import PRESETS
from ser_keras.splits.folds import fixed_folds, leave_one_speaker_out
from ser_keras.splits.split import Split

BATCH = 16


def main() -> None:
    options = _options()
    preset = PRESETS[options.preset]
    config = preset.model.replace(encoder_window=options.window, encoder_blocks=tuple(options.blocks))
    model = ParallelModel.from_preset(options.preset, config=config, encoder_weights=options.encoder_weights)
    recordings = read_recordings(options.dataset_path, audio=preset.audio)
    clips = recordings.utterances
    folds = fixed_folds(clips, options.folds) if options.folds else leave_one_speaker_out(clips)
    functionals = encode(model, [recordings.waveform(index) for index in range(len(clips))])
    joined = dict(_joined(recordings, options.joined)) if options.joined else {}
    of_joined = encode(model, list(joined.values())) if joined else None
    for c in options.c:
        pairs = list(_fitted_and_scored(folds, validation_only=options.validation_only))
        print(f"C {c}: {score(functionals, clips, functionals, clips, pairs, c):.3f}", flush=True)
        if joined:
            print(f"C {c}, joined: {score(functionals, clips, of_joined, list(joined), pairs, c):.3f}", flush=True)


def encode(model: ParallelModel, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Return the functionals of each clip, `(clips, functionals)`."""
    encoder = tf.function(
        lambda inputs: model.parts.encoder(inputs, training=False)["functionals"], reduce_retracing=True
    )
    by_length = np.argsort([len(each) for each in waveforms])
    found: dict[int, np.ndarray] = {}
    for chosen in tqdm(np.array_split(by_length, -(-len(by_length) // BATCH)), leave=False):
        waveform, num_samples = pad_clips([waveforms[index] for index in chosen])
        inputs = {"waveform": tf.constant(waveform), "num_samples": tf.constant(num_samples)}
        found |= zip(chosen, encoder(inputs).numpy(), strict=True)
    return np.stack([found[index] for index in range(len(waveforms))])


def score(
    functionals: np.ndarray,
    clips: Sequence[Utterance],
    scored_functionals: np.ndarray,
    scored_clips: Sequence[Utterance],
    pairs: Sequence[tuple[set[Utterance], set[str]]],
    c: float,
) -> float:
    """Return the UAR of the predictions of all folds."""
    emotions = np.array([each.emotion for each in clips])
    labels, answers = [], []
    for fitted, speakers in pairs:
        train = [index for index, each in enumerate(clips) if each in fitted]
        test = [index for index, each in enumerate(scored_clips) if each.speaker_id in speakers]
        mean = functionals[train].mean(axis=0)
        spread = np.maximum(functionals[train].std(axis=0), 0.01)
        regression = LogisticRegression(C=c, class_weight="balanced", max_iter=400)
        regression.fit((functionals[train] - mean) / spread, emotions[train])
        answers.extend(regression.predict((scored_functionals[test] - mean) / spread))
        labels.extend(scored_clips[index].emotion for index in test)
    return balanced_accuracy_score(labels, answers)


def _fitted_and_scored(folds: Sequence[Split], *, validation_only: bool) -> Iterator[tuple[set[Utterance], set[str]]]:
    """Yield the clips that a fold fits, and the speakers that it scores."""
    for fold in folds:
        fitted, scored = (fold.train, fold.val) if validation_only else ([*fold.train, *fold.val], fold.test)
        yield set(fitted), {each.speaker_id for each in scored}


def _joined(recordings: Recordings, number: int) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Yield recordings of some clips of one speaker and emotion in a row, under the first clip's name."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, each in enumerate(recordings.utterances):
        groups.setdefault((each.speaker_id, each.emotion), []).append(index)
    for group in groups.values():
        for first in range(0, len(group) - number + 1, number):
            parts = [recordings.waveform(index) for index in group[first : first + number]]
            same_level = [0.05 * each / max(np.sqrt(np.square(each).mean()), 1e-6) for each in parts]
            yield recordings.utterances[group[first]], np.concatenate(same_level).astype(np.float32)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset-path", required=True)
    parser.add_argument("--preset", default="whisper-tiny.en")
    parser.add_argument("--encoder-weights", help="safetensors file, see `ParallelModel.from_preset`")
    parser.add_argument("--blocks", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--window", type=int, default=400, help="frames that are encoded together, of 10 ms")
    parser.add_argument(
        "--folds", help="CSV file or name, as of `ser-keras crossval`; without it each speaker is a fold"
    )
    parser.add_argument("--c", type=float, nargs="+", default=(0.003,), help="C of LogisticRegression")
    parser.add_argument("--joined", type=int, default=0, metavar="N", help="score also N clips in a row")
    parser.add_argument("--validation-only", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

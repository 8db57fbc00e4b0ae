"""How well a logistic regression tells emotions from the frozen first blocks of Whisper.

    python benchmarks/encoder.py --dataset-path path/to/emodb --weights path/to/whisper-tiny.en.safetensors
    python benchmarks/encoder.py --dataset-path path/to/ravdess --folds ravdess --weights ...

Every clip is encoded once; in each fold the functionals of all speakers but the test speakers are standardised and the
regression is fitted to them. With ``--validation-only`` the validation speakers are scored in place of the test
speakers, to choose a row; a speaker may be in several validation sets.
"""

import argparse
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ser_keras.layers.functionals import Functionals
from ser_keras.layers.log_mel import FrameMask, LevelNormalization, LogMelSpectrogram
from ser_keras.layers.masking import PoolMask, TrimSilence
from ser_keras.model.encoders import load_whisper
from ser_keras.pipeline.datasets import pad_clips
from ser_keras.pipeline.recordings import Recordings
from ser_keras.preprocessing import read_recordings
from ser_keras.presets import WHISPER_AUDIO
from ser_keras.splits.folds import fixed_folds, leave_one_speaker_out
from ser_keras.splits.split import Split

BLOCKS = (1, 2, 3)
CHOICES = ((1,), (2,), (1, 2), (1, 2, 3))
KINDS = {"mean, log variance": [0, 1], "mean, log variance, trends": [0, 1, 2, 3]}
BATCH = 8


def main() -> None:
    options = _options()
    recordings = read_recordings(options.dataset_path, audio=WHISPER_AUDIO)
    clips = recordings.utterances
    folds = fixed_folds(clips, options.folds) if options.folds else leave_one_speaker_out(clips)
    for silence in ("attended to", "hidden"):
        functionals = encode(recordings, options.weights, silence)  # (clips, kinds, blocks, size)
        for blocks in CHOICES:
            chosen = functionals[:, :, [BLOCKS.index(block) for block in blocks]]
            for name, kinds in KINDS.items():
                values = chosen[:, kinds].reshape(len(clips), -1)
                uar = score(values, clips, folds, options.c, validation_only=options.validation_only)
                print(f"silence {silence}; blocks {blocks}; {name}: {uar:.3f}", flush=True)


def encode(recordings: Recordings, weights: str, silence: str) -> np.ndarray:
    """Return the four functionals of each block's output for every clip, without the silence at both ends."""
    waveform, num_samples = keras.Input((None,)), keras.Input((), dtype="int32")
    level = LevelNormalization(WHISPER_AUDIO.frame_step)(waveform, num_samples)
    log_mel = LogMelSpectrogram(**WHISPER_AUDIO.to_dict())(level, num_samples)
    mask = FrameMask(WHISPER_AUDIO.frame_step)(log_mel, num_samples)
    speech = TrimSilence(margin=4)(log_mel, mask)
    encoder = load_whisper(weights, blocks=BLOCKS)
    steps = encoder(log_mel, speech if silence == "hidden" else mask)
    functionals = Functionals(lags=())(steps, PoolMask(2)(speech))
    model = tf.function(keras.Model([waveform, num_samples], functionals), reduce_retracing=True)

    found = np.zeros((len(recordings.utterances), functionals.shape[-1]), np.float32)
    by_length = np.argsort([len(recordings.samples(index)) for index in range(len(found))])
    for chosen in tqdm(np.array_split(by_length, -(-len(found) // BATCH)), leave=False):
        found[chosen] = model([*map(tf.constant, pad_clips([recordings.samples(index) for index in chosen]))])
    return found.reshape(len(found), -1, len(BLOCKS), encoder.size)


def score(values: np.ndarray, clips: Sequence, folds: Sequence[Split], c: float, *, validation_only: bool):
    """Return the UAR of the predictions of all folds."""
    place = {clip: index for index, clip in enumerate(clips)}
    emotions = np.array([clip.emotion for clip in clips])
    labels, answers = [], []
    for fold in folds:
        fitted, scored = (fold.train, fold.val) if validation_only else ([*fold.train, *fold.val], fold.test)
        fitted, scored = ([place[clip] for clip in side] for side in (fitted, scored))
        regression = LogisticRegression(C=c, class_weight="balanced", max_iter=300)
        answers.extend(
            make_pipeline(StandardScaler(), regression).fit(values[fitted], emotions[fitted]).predict(values[scored])
        )
        labels.extend(emotions[scored])
    return balanced_accuracy_score(labels, answers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset-path", required=True)
    parser.add_argument("--weights", required=True, help="safetensors file, see ser_keras.model.encoders.load_whisper")
    parser.add_argument(
        "--folds", help="CSV file or name, as of `ser-keras crossval`; without it each speaker is a fold"
    )
    parser.add_argument("--c", type=float, default=0.003, help="C of LogisticRegression")
    parser.add_argument("--validation-only", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

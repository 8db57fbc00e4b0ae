"""From a folder of labelled recordings to batches of waveforms: train, validation, test."""

import dataclasses
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ser_keras.config import AudioConfig, DataConfig
from ser_keras.corpora import Utterance, scan_corpus
from ser_keras.errors import InputError
from ser_keras.labels import order_emotions
from ser_keras.pipeline.padding import pad_clips
from ser_keras.pipeline.recordings import Recordings, Rejected, load_recordings
from ser_keras.pipeline.shuffling import EpochOrder, ordered_batches
from ser_keras.predictions.notebook import table_html
from ser_keras.splits import (
    Split,
    SplitAudit,
    audit_split,
    default_split,
    random_split,
    require_two_emotions,
    speaker_split,
)
from ser_keras.splits.split import offering
from ser_keras.terminal import text_table

logger = logging.getLogger(__name__)

_PARALLEL = 2
"""Batches made at a time: a batch is one call of NumPy, which shares Python's lock, and takes milliseconds."""


@dataclass(frozen=True)
class Splits:
    """Three datasets of one corpus; unpacks as ``train, val, test = splits``.

    Each is a batched `tf.data.Dataset` of ``({"waveform": (batch, samples), "num_samples": (batch,)},
    label)``: float32 in [-1, 1], zero-padded to the longest clip of the batch; int32; int32 indices
    into `emotions`. As with `keras.utils.audio_dataset_from_directory` each dataset carries
    ``class_names``; val and test, which are not shuffled, also carry ``utterances`` in their order. For `train_model`
    train carries its ``order``, by which the epochs are numbered, and ``whole``, which makes a dataset of the same
    clips uncut in one order.

    Attributes:
        train: shuffled anew in each epoch.
        val: for every choice, and for calibration.
        test: to be scored once, at the end.
        emotions: names of the labels, in their order.
        split: which utterance is on which side.
        rejected: the files that were left out, each with its reason.
        audit: the leaks between the subsets that `audit_split` detects.
        fingerprints: for each utterance a hash of its decoded samples.
        joined_speakers: of each speaker who is spelled in several ways, the spellings; they count as one.
    """

    train: tf.data.Dataset
    val: tf.data.Dataset
    test: tf.data.Dataset
    emotions: tuple[str, ...]
    split: Split
    rejected: tuple[Rejected, ...]
    audit: SplitAudit
    fingerprints: dict[Utterance, str]
    joined_speakers: tuple[tuple[str, ...], ...]
    _training_batches: Callable[[Sequence[Utterance]], tf.data.Dataset] = field(repr=False)

    @cached_property
    def train_and_val(self) -> tf.data.Dataset:
        """For `refit_model`: the clips of both sides, as in `train`; made when it is first asked for."""
        return self._training_batches((*self.split.train, *self.split.val))

    def __iter__(self) -> Iterator[tf.data.Dataset]:
        return iter((self.train, self.val, self.test))

    def _repr_html_(self) -> str:
        """Return who and what is on each side, for Jupyter, with what the audit found and what was left out."""
        rows = ((side, *_side_counts(clips, self.emotions)) for side, clips in self.split._asdict().items())
        left_out = rejection_table(self.rejected) if self.rejected else ""
        return table_html(("", "clips", "speakers", *self.emotions), rows, str(self.audit), left_out)


def preprocess_data(
    dataset_path: str | Path | Sequence[str | Path],
    *,
    config: DataConfig | None = None,
    audio: AudioConfig | None = None,
    **settings: Any,
) -> Splits:
    """Read a corpus, check every file of it, split it by speaker and make datasets.

    Args:
        dataset_path: folder of a known corpus, folder with a folder for each emotion, manifest, or a list of
            these (see `ser_keras.corpora`).
        config: how to split, batch and cache.
        audio: recipe of the features; only its `sample_rate` is used here.
        **settings: fields of `DataConfig` by name, such as ``batch_size=16``; they go before `config`.

    Returns:
        The datasets, ready for `train_model` and `evaluate_model`.

    Raises:
        InputError: nothing usable was found, fewer than two emotions, too few speakers, or with
            ``strict=True`` a file that cannot be used.
        FileNotFoundError: `dataset_path` does not exist.

    Example:
        ```python
        train_data, val_data, test_data = preprocess_data("path/to/ravdess")
        ```
    """
    config = (config or DataConfig()).replace(**settings)
    split = partial(split_utterances, config=config)
    recordings = read_recordings(dataset_path, config=config, audio=audio, check=split)
    splits = make_splits(recordings, split(recordings.utterances), config=config)
    if not splits.audit.ok:
        logger.warning("%s", splits.audit)
    return splits


def read_recordings(
    dataset_path: str | Path | Sequence[str | Path],
    *,
    config: DataConfig | None = None,
    audio: AudioConfig | None = None,
    check: Callable[[Sequence[Utterance]], Any] | None = None,
) -> Recordings:
    """Do the first and long half of `preprocess_data`: find, decode and check every recording of a corpus.

    Args:
        dataset_path: as `preprocess_data` takes it.
        config: limits of length, and where the waveforms are kept.
        audio: only its `sample_rate` is used here.
        check: is given what was found before anything is decoded, and raises where that cannot work; what it
            warns of is not shown, for the usable recordings can be fewer.

    Returns:
        The usable recordings; `rejected` lists the files that were left out, those that fit into no
        corpus among them.

    Raises:
        InputError: nothing usable was found, or with ``strict=True`` a file cannot be used.
        FileNotFoundError: `dataset_path` does not exist.
    """
    config, audio = config or DataConfig(), audio or AudioConfig()
    scan = scan_corpus(dataset_path, config.corpus, layout=config.layout, allow_outside=config.allow_outside)
    strays = tuple(Rejected(path, reason) for path, reason in scan.left_out)
    if strays and config.strict:
        raise InputError(f"{strays[0].path}: {strays[0].reason}; correct it or take it away")
    if check is not None:
        with warnings.catch_warnings(action="ignore"):
            check(scan.utterances)
    recordings = load_recordings(scan.utterances, sample_rate=audio.sample_rate, config=config)
    if rejected := strays + recordings.rejected:
        logger.warning("%s", rejection_table(rejected))
    return dataclasses.replace(recordings, rejected=rejected, joined_speakers=scan.joined_speakers)


def split_utterances(utterances: Sequence[Utterance], config: DataConfig) -> Split:
    """Part utterances into train, validation and test as ``config.split`` says.

    Raises:
        InputError: fewer than two emotions, of all recordings or of those to train on, or the split that was asked for
            is not possible.
    """
    emotions = {each.emotion for each in utterances}
    if len(emotions) < 2:
        raise InputError(
            f"all {len(utterances)} recordings are labelled {emotions.pop()!r}: a classifier needs at least 2 emotions"
        )
    if config.split == "manifest" and (unsplit := [each for each in utterances if each.split is None]):
        raise InputError(f"{unsplit[0].path}: no manifest gives its split; add the column or choose another split")
    split = {"speaker": speaker_split, "random": random_split}.get(config.split, default_split)
    fractions = {"val_fraction": config.val_fraction, "test_fraction": config.test_fraction}
    with offering("`split='random'`", unless=config.split == "random"):
        return require_two_emotions(split(utterances, **fractions, seed=config.seed))


def make_splits(recordings: Recordings, split: Split, *, config: DataConfig | None = None) -> Splits:
    """Make the datasets of one split, and find its leaks; cheap, so that folds share recordings.

    Args:
        recordings: decoded audio of at least the utterances in `split`.
        split: which utterance goes to which side.
        config: batch size, crops and seed.

    Raises:
        InputError: fewer than two emotions to train on.
    """
    config = config or DataConfig()
    require_two_emotions(split)
    emotions = order_emotions({each.emotion for each in recordings.utterances})
    audit = audit_split(split, fingerprints=recordings.fingerprints)
    side = partial(_Side, recordings, emotions=emotions)

    def training_batches(clips: Sequence[Utterance]) -> tf.data.Dataset:
        return side(clips).training_batches(config)

    train = training_batches(split.train)
    val, test = (side(clips).batches(config.batch_size) for clips in (split.val, split.test))
    known = recordings.rejected, audit, recordings.fingerprints, recordings.joined_speakers
    return Splits(train, val, test, emotions, split, *known, training_batches)


def clip_batches(
    recordings: Recordings, utterances: Sequence[Utterance], emotions: tuple[str, ...], *, batch_size: int
) -> tf.data.Dataset:
    """Make a dataset of whole clips in their order, such as `Splits.test` is, with labels of another's choice.

    Args:
        recordings: decoded audio of at least `utterances`.
        utterances: the clips.
        emotions: names of the labels, in their order; those of a model, say.
        batch_size: clips in a batch.
    """
    return _Side(recordings, utterances, emotions).batches(batch_size)


def rejection_table(rejected: Sequence[Rejected], most: int = 20) -> str:
    """Return a text table of the rejected files, with at most `most` rows."""
    table = text_table(
        (f"{len(rejected)} files rejected", "reason"), [(each.path, each.reason) for each in rejected[:most]]
    )
    return table + (f"\nand {len(rejected) - most} more" if len(rejected) > most else "")


def _side_counts(clips: Sequence[Utterance], emotions: Sequence[str]) -> tuple[int | str, ...]:
    """Return the number of clips, of speakers, and of clips of each emotion."""
    speakers = {clip.speaker_id for clip in clips}
    counts = Counter(clip.emotion for clip in clips)
    return len(clips), "unknown" if None in speakers else len(speakers), *(counts[name] for name in emotions)


class _Side:
    """One side of a split as numbers: for each clip its place in the recordings and its label."""

    def __init__(self, recordings: Recordings, utterances: Sequence[Utterance], emotions: tuple[str, ...]):
        positions = {utterance: position for position, utterance in enumerate(recordings.utterances)}
        self._recordings = recordings
        self._utterances = tuple(utterances)
        self._emotions = emotions
        self._clips = np.array([positions[each] for each in utterances], np.int32)
        self._labels = np.array([emotions.index(each.emotion) for each in utterances], np.int32)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Return whole clips in their order."""
        entries = tf.data.Dataset.from_tensor_slices((self._clips, self._labels))

        @tf.autograph.experimental.do_not_convert
        def read(clips, labels):
            return self._read(self._wholes, clips), labels

        dataset = self._reading(entries.batch(batch_size), read)
        dataset.utterances = self._utterances
        return dataset

    def training_batches(self, config: DataConfig) -> tf.data.Dataset:
        """Return clips of at most ``config.crop_seconds``, in each epoch in another order and cut elsewhere.

        A last batch that is not full is dropped: a batch of one clip would upset the batch
        normalisation, and the next epoch drops others.
        """
        order = EpochOrder(len(self._utterances), config.seed)
        parts = partial(self._parts, length=round(config.crop_seconds * self._recordings.sample_rate))

        @tf.autograph.experimental.do_not_convert
        def read(places, draws):
            return self._read(parts, tf.gather(self._clips, places), draws), tf.gather(self._labels, places)

        entries = ordered_batches(order, config.batch_size)
        dataset = self._reading(entries, read)
        dataset.order = order
        dataset.whole = partial(self.batches, config.batch_size)
        return dataset

    def _reading(self, entries: tf.data.Dataset, read: Callable[..., tuple]) -> tf.data.Dataset:
        """Return the batches that `read` makes of batches of numbers.

        Before, `cut` can change the numbers. What `mapped` gives is what `map` does, in one call with the reading:
        each call of its own takes milliseconds to begin in every epoch.
        """
        dataset = _read_ahead(entries, read)
        dataset.class_names = self._emotions
        dataset.cut = lambda cut: _read_ahead(entries.apply(cut), read)
        dataset.mapped = lambda function: _read_ahead(entries, lambda *numbers: function(*read(*numbers)))
        return dataset

    def _read(self, choose: Callable[..., list[np.ndarray]], *numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return a batch of what `choose` makes of some numbers; in NumPy, where a clip is one copy."""
        waveform, num_samples = tf.numpy_function(
            lambda *numbers: pad_clips(choose(*numbers)), numbers, (tf.float32, tf.int32)
        )
        return {
            "waveform": tf.ensure_shape(waveform, [None, None]),
            "num_samples": tf.ensure_shape(num_samples, [None]),
        }

    def _wholes(self, clips: np.ndarray) -> list[np.ndarray]:
        return [self._recordings.samples(clip) for clip in clips]

    def _parts(self, clips: np.ndarray, draws: np.ndarray, *, length: int) -> list[np.ndarray]:
        return [_random_part(samples, length, draw) for samples, draw in zip(self._wholes(clips), draws, strict=True)]


def _read_ahead(entries: tf.data.Dataset, read: Callable[..., Any]) -> tf.data.Dataset:
    """Return what `read` makes of each entry, made while the batches before are computed on.

    Without TensorFlow's autotuning: the end of each epoch waits for its thread, which sleeps up to seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return entries.map(read, _PARALLEL).prefetch(_PARALLEL).with_options(options)


def _random_part(samples: np.ndarray, length: int, draw: int) -> np.ndarray:
    """Return `length` samples from where a random number says; all where there are fewer."""
    start = draw % (max(len(samples) - length, 0) + 1)
    return samples[start : start + length]

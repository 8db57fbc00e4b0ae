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

import tensorflow as tf

from ser_keras.config import AudioConfig, DataConfig
from ser_keras.corpora import Utterance, scan_corpus
from ser_keras.errors import InputError
from ser_keras.labels import order_emotions
from ser_keras.pipeline.datasets import clip_batches, training_batches
from ser_keras.pipeline.recordings import Recordings, Rejected, load_recordings
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
from ser_keras.splits.split import suggest_if_unsplittable
from ser_keras.terminal import text_table

logger = logging.getLogger(__name__)

__all__ = ["Splits", "clip_batches", "make_splits", "preprocess_data", "read_recordings", "split_utterances"]


@dataclass(frozen=True)
class Splits:
    """Three datasets of one corpus; unpacks as ``train, val, test = splits``.

    Each is a batched `tf.data.Dataset` of ``({"waveform": (batch, samples), "num_samples": (batch,), "utterance":
    (batch,)}, label)``: float32 in [-1, 1], zero-padded to the longest clip of the batch; int32; string; int32 indices
    into `emotions`. ``utterance`` is the clip's `Utterance` as JSON, with the names of all labels, so that they stay
    with the clips whatever is made of the dataset (see `ser_keras.pipeline.batches.describe`).

    Attributes:
        train: shuffled anew in each epoch, cropped to `crop_seconds`.
        val: for every choice, and for calibration.
        test: to be scored once, at the end.
        emotions: names of the labels, in their order.
        split: the utterances of each subset.
        audit: the leaks between the subsets that `audit_split` detects.
        recordings: the decoded audio.
        config: settings of the datasets.
    """

    train: tf.data.Dataset
    val: tf.data.Dataset
    test: tf.data.Dataset
    emotions: tuple[str, ...]
    split: Split
    audit: SplitAudit
    recordings: Recordings = field(repr=False)
    config: DataConfig = field(repr=False)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The files that cannot be used, each with its reason."""
        return self.recordings.rejected

    @property
    def fingerprints(self) -> dict[Utterance, str]:
        """For each utterance a hash of its decoded samples."""
        return self.recordings.fingerprints

    @property
    def joined_speakers(self) -> tuple[tuple[str, ...], ...]:
        """Of each speaker who is spelled in several ways, the spellings; they count as one."""
        return self.recordings.joined_speakers

    @cached_property
    def train_and_val(self) -> tf.data.Dataset:
        """The training and validation clips as in `train`, for `refit_model`."""
        return training_batches(
            self.recordings, (*self.split.train, *self.split.val), self.emotions, config=self.config
        )

    def __iter__(self) -> Iterator[tf.data.Dataset]:
        return iter((self.train, self.val, self.test))

    def _repr_html_(self) -> str:
        """Return a table of the subsets for Jupyter, the result of the audit, and the rejected files."""
        rows = ((subset, *_subset_counts(clips, self.emotions)) for subset, clips in self.split._asdict().items())
        rejected = rejection_table(self.rejected) if self.rejected else ""
        return table_html(("", "clips", "speakers", *self.emotions), rows, str(self.audit), rejected)


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
    """Find, decode and check every recording of a corpus: the first and longest step of `preprocess_data`.

    Args:
        dataset_path: as `preprocess_data` takes it.
        config: limits of length, and where the waveforms are kept.
        audio: only its `sample_rate` is used here.
        check: is called with the utterances before anything is decoded, and raises where they cannot be used; its
            warnings are not shown, because more recordings may be rejected later.

    Returns:
        The usable recordings; `rejected` also lists the files that do not belong to a corpus.

    Raises:
        InputError: nothing usable was found, or with ``strict=True`` a file cannot be used.
        FileNotFoundError: `dataset_path` does not exist.
    """
    config, audio = config or DataConfig(), audio or AudioConfig()
    scan = scan_corpus(dataset_path, config.corpus, layout=config.layout, allow_outside=config.allow_outside)
    skipped = tuple(Rejected(path, reason) for path, reason in scan.skipped)
    if skipped and config.strict:
        raise InputError(f"{skipped[0].path}: {skipped[0].reason}; correct or remove it")
    if check is not None:
        with warnings.catch_warnings(action="ignore"):
            check(scan.utterances)
    recordings = load_recordings(scan.utterances, sample_rate=audio.sample_rate, config=config)
    if rejected := skipped + recordings.rejected:
        logger.warning("%s", rejection_table(rejected))
    return dataclasses.replace(recordings, rejected=rejected, joined_speakers=scan.joined_speakers)


def split_utterances(utterances: Sequence[Utterance], config: DataConfig) -> Split:
    """Divide utterances into training, validation and test set as ``config.split`` says.

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
    with suggest_if_unsplittable("`split='random'`", unless=config.split == "random"):
        return require_two_emotions(split(utterances, **fractions, seed=config.seed))


def make_splits(recordings: Recordings, split: Split, *, config: DataConfig | None = None) -> Splits:
    """Make the datasets of one split, and find its leaks; cheap, so that folds share recordings.

    Args:
        recordings: decoded audio of at least the utterances in `split`.
        split: the utterances of each subset.
        config: batch size, crops and seed.

    Raises:
        InputError: fewer than two emotions to train on.
    """
    config = config or DataConfig()
    require_two_emotions(split)
    emotions = order_emotions({each.emotion for each in recordings.utterances})
    audit = audit_split(split, fingerprints=recordings.fingerprints)
    train = training_batches(recordings, split.train, emotions, config=config)
    val, test = (
        clip_batches(recordings, clips, emotions, batch_size=config.batch_size) for clips in (split.val, split.test)
    )
    return Splits(train, val, test, emotions, split, audit, recordings, config)


def rejection_table(rejected: Sequence[Rejected], most: int = 20) -> str:
    """Return a text table of the rejected files, with at most `most` rows."""
    table = text_table(
        (f"{len(rejected)} files rejected", "reason"), [(each.path, each.reason) for each in rejected[:most]]
    )
    return table + (f"\nand {len(rejected) - most} more" if len(rejected) > most else "")


def _subset_counts(clips: Sequence[Utterance], emotions: Sequence[str]) -> tuple[int | str, ...]:
    """Return the number of clips, of speakers, and of clips of each emotion."""
    speakers = {clip.speaker_id for clip in clips}
    counts = Counter(clip.emotion for clip in clips)
    return len(clips), "unknown" if None in speakers else len(speakers), *(counts[name] for name in emotions)

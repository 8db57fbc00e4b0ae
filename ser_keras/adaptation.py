"""adapt_normalization: adapt a model to a new speaker, room or corpus, by recordings without labels."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.sound_files import as_int16_if_exact
from ser_keras.corpora import Utterance
from ser_keras.corpora.listing import find_recordings
from ser_keras.errors import InputError
from ser_keras.evaluation import Report, evaluate_model
from ser_keras.model import ParallelModel
from ser_keras.model.functionals_branch import centre_functionals
from ser_keras.pipeline.batches import as_inputs
from ser_keras.pipeline.clips import fingerprint
from ser_keras.pipeline.datasets import clip_batches
from ser_keras.pipeline.recordings import Recordings, load_recordings
from ser_keras.preprocessing import rejection_table

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32

PRIOR_CLIPS, ENCODER_PRIOR_CLIPS = 2, 5
"""Weight of the training data against new recordings, in clips; see `adapt_normalization`.

The best number is the variance of a voice's or a room's clips around their mean over the variance of the means. For
the standardised functionals it is 11 between the speakers of EmoDB and 4 between those of RAVDESS (one studio each),
and 0.3 between the two corpora (median over the functionals: 0.9). The number is between them, as it is not known
which of these applies. For the functionals of a pretrained encoder it is 12 and 5: with 5 a single clip already raised
the score of validation speakers of both corpora (docs/experiments.md).
"""


def adapt_normalization(model: ParallelModel, recordings: Any) -> ParallelModel:
    """Return a copy of a model whose normalisation is adapted to new recordings; no label is needed.

    Use it where voice, microphone, room or language differ from those of the training data, and where the new
    recordings have about the same mixture of emotions as those to be classified: the normalisation removes
    what they have in common, which for shouting alone would be the shouting.

    The functionals branch subtracts the means of the training data. They become those of a pool of the n new clips
    and of as much training data as κ clips (`PRIOR_CLIPS`, or with an encoder `ENCODER_PRIOR_CLIPS`),

        mean = (1 - w) mean_train + w mean_new,    w = n / (n + κ),

    which is maximum a posteriori adaptation (Reynolds, Quatieri & Dunn, 2000, eq. 12 and 14) with κ as the relevance
    factor. Behind a pretrained encoder the network subtracts the means of the same features, and they move as far. In
    the light model the normalisation of the mel bands stays: its moments are those of all frames, and depend more on
    silence at both ends of the recordings than on the voice; adapted to another corpus they lowered the score
    (docs/accuracy.md).

    Args:
        model: trained model; it is not changed.
        recordings: folder of audio files, searched recursively; an audio file; a list of these; a list of
            waveforms, mono at ``model.audio.sample_rate``, full scale [-1, 1]; or a batched
            `tf.data.Dataset` of inputs, or of tuples that begin with inputs, as the model takes them.

    Returns:
        The adapted copy. Its `adaptation`, which is saved with it, has the number of recordings
        (``num_recordings``), their weight against the training data (``weight``, 0 to 1), and a hash of the samples
        of each (``fingerprints``, see `ser_keras.pipeline.clips.fingerprint`).

    Raises:
        InputError: there is no usable recording (unusable ones are logged and skipped), or the model
            has no functionals branch (``fusion_weight`` is 0).

    Example:
        ```python
        adapted = adapt_normalization(load_model("runs/ravdess"), "recordings/of/the/new/room")
        save_model(adapted, "runs/room/model.keras")
        ```
    """
    if not model.config.fusion_weight:
        raise InputError(
            "fusion_weight=0: this model has no functionals branch, whose means are adapted; train one with "
            "fusion_weight above 0"
        )
    batches = list(_batches(recordings, model.audio.sample_rate))
    num_recordings = sum(len(inputs["num_samples"]) for inputs in batches)
    if not num_recordings:
        raise InputError("there is no recording to adapt to: give at least one")
    prior_clips = ENCODER_PRIOR_CLIPS if model.config.encoder_blocks else PRIOR_CLIPS
    weight = num_recordings / (num_recordings + prior_clips)
    about = {
        "num_recordings": num_recordings,
        "prior_clips": prior_clips,
        "weight": weight,
        "fingerprints": [fingerprint(as_int16_if_exact(each)) for each in _waveforms(batches)],
    }
    adapted = model.copy(adaptation=about)
    centre_functionals(adapted, batches, weight=weight)
    return adapted


def evaluate_by_speaker(
    model: ParallelModel, recordings: Recordings, utterances: Sequence[Utterance], *, clips: int | None = None
) -> Report:
    """Score a model that is adapted to each speaker in turn, by recordings whose labels it does not see.

    Args:
        model: trained model; it is not changed.
        recordings: decoded audio of at least `utterances`.
        utterances: the clips to score; each names its speaker. Those that the model is adapted to are among them.
        clips: how many clips of each speaker it is adapted to, drawn at random; all where there are fewer, or for None.

    Raises:
        InputError: a clip has no speaker, or as in `adapt_normalization` and `evaluate_model`.
    """
    if nameless := next((each for each in utterances if not each.speaker_id), None):
        raise InputError(f"{nameless.path}: its speaker is unknown: name the speakers, or adapt to all recordings")
    index_of = {utterance: index for index, utterance in enumerate(recordings.utterances)}
    random, found, num_adapted = np.random.default_rng(0), {}, 0
    for speaker in sorted({each.speaker_id for each in utterances}):
        own = [each for each in utterances if each.speaker_id == speaker]
        chosen = random.permutation(len(own))[:clips]
        num_adapted += len(chosen)
        adapted = adapt_normalization(model, [recordings.waveform(index_of[own[place]]) for place in chosen])
        report = evaluate_model(adapted, clip_batches(recordings, own, model.known_emotions(), batch_size=_BATCH_SIZE))
        found |= zip(own, zip(report.labels, report.probabilities, strict=True), strict=True)
    labels, probabilities = map(np.stack, zip(*(found[each] for each in utterances), strict=True))
    speakers = tuple(each.speaker_id for each in utterances)
    caveat = (
        f"transductive: the model was adapted to each speaker by own clips without their labels, and these "
        f"{num_adapted} of the {len(utterances)} clips are scored too"
    )
    return Report(model.known_emotions(), labels, probabilities, speakers, tuple(utterances), (caveat,))


def _batches(recordings: Any, sample_rate: int) -> Iterator[dict[str, Any]]:
    """Yield inputs of the model: clip by clip, or the batches of a dataset."""
    if isinstance(recordings, tf.data.Dataset):
        yield from (as_inputs(each[0] if isinstance(each, tuple) else each) for each in recordings)
        return
    paths = [recordings] if isinstance(recordings, str | Path) else list(recordings)
    is_path = [isinstance(each, str | Path) for each in paths]
    if any(is_path) and not all(is_path):
        raise InputError("a list of paths and arrays: give either")
    for waveform in _load(paths, sample_rate) if any(is_path) else map(_checked, paths):
        yield {"waveform": waveform[None], "num_samples": np.array([len(waveform)], np.int32)}


def _waveforms(batches: Sequence[dict[str, Any]]) -> Iterator[np.ndarray]:
    """Yield each clip of some batches, without its padding."""
    for inputs in batches:
        for waveform, size in zip(np.asarray(inputs["waveform"]), np.asarray(inputs["num_samples"]), strict=True):
            yield waveform[:size]


def _load(paths: Sequence[str | Path], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield the waveforms of files, and of all audio files in folders."""
    files = [file for path in paths for file in _files_of(Path(path))]
    loaded = load_recordings([Utterance(file, "", None, "") for file in files], sample_rate=sample_rate)
    if loaded.rejected:
        logger.warning("%s", rejection_table(loaded.rejected))
    yield from (loaded.waveform(index) for index in range(len(loaded.utterances)))


def _files_of(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected a folder of recordings or an audio file")
    return find_recordings(path) if path.is_dir() else [path]


def _checked(waveform: Any) -> np.ndarray:
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 1 or not waveform.size or not np.isfinite(waveform).all():
        raise InputError(f"a waveform of shape {waveform.shape}: expected finite samples (time,), one or more")
    return waveform

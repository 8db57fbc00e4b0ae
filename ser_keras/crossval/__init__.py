"""cross_validate: train and score every fold of a corpus, so that every speaker is tested once.

The score of a single split with few test speakers is imprecise: speakers differ more than most models do. Here every
speaker is tested, and every fold is trained from several seeds.
"""

import gc
import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_keras.adaptation import evaluate_by_speaker
from ser_keras.config import Config, CrossvalConfig, DataConfig
from ser_keras.corpora import Utterance
from ser_keras.crossval.journal import Journal
from ser_keras.crossval.results import HEADER, OPTIMISTIC, CrossValidation, FoldResult, FoldRow, speakers_of, table_line
from ser_keras.errors import InputError
from ser_keras.evaluation import evaluate_model
from ser_keras.labels import order_emotions
from ser_keras.model import ParallelModel
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.pipeline.recordings import Recordings
from ser_keras.preprocessing import Splits, make_splits, read_recordings
from ser_keras.presets import DEFAULT_PRESET, find_preset
from ser_keras.refitting import refit_model
from ser_keras.runs import CROSSVAL_CONFIGS, SET_BY_FOLDS, run_directory, settings_of, write_environment
from ser_keras.runs.reading import stamp
from ser_keras.splits import (
    Split,
    fixed_folds,
    leave_one_speaker_out,
    random_folds,
    require_two_emotions,
    speaker_folds,
)
from ser_keras.splits.split import suggest_if_unsplittable
from ser_keras.terminal import log_level
from ser_keras.training import encoded_clips, train_model

logger = logging.getLogger(__name__)

__all__ = ["OPTIMISTIC", "CrossValidation", "FoldResult", "FoldRow", "cross_validate"]


def cross_validate(
    dataset_path: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    resume: bool = False,
    preset: str = DEFAULT_PRESET,
    encoder_weights: str | Path | None = None,
    configs: dict[str, Config] | None = None,
    echo: Callable[[str], None] = print,
    **settings: Any,
) -> CrossValidation:
    """Train and score every fold of a corpus for every seed, and write the results.

    The corpus is decoded once, and with a pretrained encoder encoded once. Each fold leaves a small file, and without
    an encoder each epoch a checkpoint, so that a stopped run resumes there; the result of a fold depends on its seed
    and number only. Validation speakers are taken from the training speakers, others for each seed. The test set of a
    fold is read once, after its training; with ``validation_only`` never.

    `output_dir` gets ``config.json``, ``environment.json``, ``folds.csv`` (which recording is tested in
    which fold; `fixed_folds` reads it), ``folds/`` and, at the end, ``metrics.json``, ``predictions.csv``
    (every prediction of every seed), ``confusion_matrix.png`` and ``report.html``.

    Args:
        dataset_path: as `preprocess_data` takes it.
        output_dir: directory to make, or with `resume` to continue.
        resume: continue in `output_dir`; if there is none, begin.
        preset: as in `ParallelModel.from_preset`; the settings that are not given are the preset's.
        encoder_weights: the same.
        configs: settings as objects, by the names in `ser_keras.runs.CROSSVAL_CONFIGS`.
        echo: called with each line of the table.
        **settings: fields of any of the settings classes by name, such as ``protocol="loso"``,
            ``seeds=(0, 1, 2)`` or ``epochs=10``; they override `configs`.

    Returns:
        Every prediction, and the scores computed from them.

    Raises:
        InputError: the data or the settings cannot work, `output_dir` is not empty, or with `resume`
            the settings or the recordings differ from those at its start; seeds can be added.

    Example:
        ```python
        result = cross_validate("path/to/emodb", "runs/emodb-loso", protocol="loso", seeds=(0, 1, 2))
        print(result)
        ```
    """
    started = time.monotonic()
    configs = _merge(find_preset(preset).configs() | (configs or {}), settings)
    build = partial(
        ParallelModel.from_preset,
        preset,
        config=configs["model"],
        audio=configs["audio"],
        encoder_weights=encoder_weights,
    )
    with run_directory(output_dir, resume=resume) as directory:
        model = {"preset": preset, "encoder_weights": encoder_weights and str(encoder_weights)}
        journal = Journal(directory, _settings_of(dataset_path, configs) | model)
        folds = partial(_make_folds, config=configs["crossval"], val_fraction=configs["data"].val_fraction)
        recordings = read_recordings(dataset_path, config=configs["data"], audio=configs["audio"], check=folds)
        folds = partial(folds, recordings.utterances, skipped=[each.path for each in recordings.rejected])
        result = _run_folds(journal, recordings, folds, _FoldTrainer(recordings, build, configs), echo)
        result.save(directory)
        journal.write_settings()
        write_environment(directory, time.monotonic() - started)
    echo(f"\n{result}")
    return result


def _merge(configs: dict[str, Config], settings: dict[str, Any]) -> dict[str, Config]:
    """Return one object of each settings class, with fields changed by their names."""
    merged = {title: configs.get(title) or config_class() for title, config_class in CROSSVAL_CONFIGS.items()}
    names = {title: set(config.to_dict()) for title, config in merged.items()}
    if unknown := sorted({*configs} - {*CROSSVAL_CONFIGS} | {*settings} - set().union(*names.values())):
        raise InputError(
            f"no settings of cross_validate: {', '.join(unknown)}; expected {', '.join(CROSSVAL_CONFIGS)}, or fields"
        )
    merged = {
        title: config.replace(**{name: settings[name] for name in settings if name in names[title]})
        for title, config in merged.items()
    }
    default = DataConfig()
    for name in SET_BY_FOLDS:
        if getattr(merged["data"], name) != getattr(default, name):
            raise InputError(
                f"{name}={getattr(merged['data'], name)!r}: cross_validate takes protocol, folds and seeds instead"
            )
    return merged


def _settings_of(dataset_path: Any, configs: dict[str, Config]) -> dict[str, Any]:
    paths = [dataset_path] if isinstance(dataset_path, str | Path) else dataset_path
    settings = {**stamp(), **settings_of([str(path) for path in paths], configs)}
    for name in SET_BY_FOLDS:
        del settings["data"][name]
    return settings


def _run_folds(
    journal: Journal,
    recordings: Recordings,
    make_folds: Callable[..., list[Split]],
    trainer: "_FoldTrainer",
    echo: Callable[[str], None],
) -> CrossValidation:
    config, results = trainer.configs["crossval"], []
    for seed in config.seeds:
        splits = make_folds(seed=seed)
        journal.begin(recordings, splits)
        for fold, split in enumerate(splits, 1):
            if not results:
                echo(HEADER)
            result = journal.load(seed, fold, split)
            if result is None:
                with log_level("tensorflow", logging.ERROR):  # functions are traced again
                    result = trainer.train(split, journal.workplace(seed, fold), seed, fold)
                journal.save(result)
            results.append(result)
            echo(table_line(result.row))
    return CrossValidation(config, order_emotions(each.emotion for each in recordings.utterances), tuple(results))


def _make_folds(
    utterances: Sequence[Utterance],
    *,
    config: CrossvalConfig,
    val_fraction: float,
    seed: int = 0,
    skipped: Collection[Path] = (),
) -> list[Split]:
    """Return the splits of a protocol: all seeds test the same folds, each with its own validation set.

    Raises:
        InputError: the recordings do not allow the protocol, or leave fewer than two emotions to train a fold on.
    """
    if len({each.emotion for each in utterances}) < 2:
        raise InputError(f"all {len(utterances)} recordings are labelled alike: a classifier needs at least 2 emotions")
    with suggest_if_unsplittable("`protocol='random'`", unless=config.protocol == "random"):
        if config.protocol == "loso":
            splits = leave_one_speaker_out(utterances, val_fraction=val_fraction, seed=seed)
        elif config.folds is not None:
            splits = fixed_folds(utterances, config.folds, val_fraction=val_fraction, seed=seed, skipped=skipped)
        else:
            folds = speaker_folds if config.protocol == "folds" else random_folds
            splits = folds(utterances, num_folds=config.num_folds, val_fraction=val_fraction, val_seed=seed)
        return [require_two_emotions(split) for split in splits]


class _FoldTrainer:
    """Trains and scores folds, which share what a frozen encoder gives of their clips.

    Args:
        recordings: of the corpus.
        build: as `ParallelModel.from_preset`.
        configs: of the cross-validation.
    """

    def __init__(self, recordings: Recordings, build: Callable[..., ParallelModel], configs: dict[str, Config]):
        self._recordings, self._build, self.configs = recordings, build, configs
        self._encoded: EncodedClips | None = None

    def train(self, split: Split, workplace: Path | None, seed: int, fold: int) -> FoldResult:
        """Train one fold, or resume it from its checkpoint, and score it."""
        started, training = time.monotonic(), self.configs["training"]
        own_seed = _reset(seed, fold)
        splits = make_splits(self._recordings, split, config=self.configs["data"].replace(seed=own_seed))
        for finding in splits.audit:
            if finding.kind == "class" and "train" in finding.subsets:
                logger.warning("seed %d, fold %d: %s", seed, fold, finding.message)
        model = self._build(len(splits.emotions), emotions=splits.emotions)
        if model.parts.encoder is not None:
            self._encoded = self._encoded or encoded_clips(model)
            workplace = None  # a head is trained again sooner than its checkpoints are written
        options = {"config": training, "encoded": self._encoded, "verbose": 0}
        history = train_model(model, splits.train, splits.val, output_dir=workplace, resume=True, **options)
        scores, report = history.history["val_uar"], None
        if not self.configs["crossval"].validation_only:
            if training.refit:
                refit_model(model, splits.train_and_val, **options)
            if clips := self.configs["crossval"].adapt_clips:
                report = evaluate_by_speaker(model, self._recordings, split.test, clips=clips)
            else:
                report = evaluate_model(model, splits.test)
        kept = int(np.argmax(scores)) if training.patience else len(scores) - 1
        row = FoldRow(
            seed=seed,
            fold=fold,
            speakers=speakers_of(split.test),
            validation_speakers=speakers_of(split.val),
            num_clips=len(split.test),
            num_leaks=_num_leaks(splits),
            num_weights=model.count_params(),
            validation_uar=float(scores[kept]),
            epochs=len(scores),
            kept_epoch=kept + 1,
            seconds=round(time.monotonic() - started, 1),
            uar=report and report.unweighted_average_recall,
            accuracy=report and report.accuracy,
        )
        return FoldResult(row, split.test, report)


def _reset(seed: int, fold: int) -> int:
    """Free the model of the previous fold, set the seed of this one, and return it."""
    keras.backend.clear_session()
    gc.collect()
    own_seed = int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])
    keras.utils.set_random_seed(own_seed)
    return own_seed


def _num_leaks(splits: Splits) -> int:
    leaks = (*splits.audit.leaks, *(each for each in splits.audit if each.kind == "unknown speaker"))
    return sum("test" in each.subsets for each in leaks)

"""Training, validation and test sets: speaker-independent splits and folds, and an audit of leaks between them.

A network scores far better on speakers that it was trained on than on new ones, so no function here puts a speaker
into two subsets, except `random_split` and `random_folds`, which warn, and those that follow a split of the dataset's
own, which `audit_split` checks. Every result depends on the utterances and the seed alone, not on their order.
"""

from ser_keras.splits.audit import LEAK_KINDS, Finding, SplitAudit, audit_split
from ser_keras.splits.folds import PUBLISHED_FOLDS, fixed_folds, leave_one_speaker_out, random_folds, speaker_folds
from ser_keras.splits.holdout import default_split, random_split, speaker_split
from ser_keras.splits.split import SUBSETS, OptimisticScoreWarning, SpeakerSplitError, Split, require_two_emotions

__all__ = [
    "LEAK_KINDS",
    "PUBLISHED_FOLDS",
    "SUBSETS",
    "Finding",
    "OptimisticScoreWarning",
    "SpeakerSplitError",
    "Split",
    "SplitAudit",
    "audit_split",
    "default_split",
    "fixed_folds",
    "leave_one_speaker_out",
    "random_folds",
    "random_split",
    "require_two_emotions",
    "speaker_folds",
    "speaker_split",
]

"""Who is in train, val and test: speaker-independent splits and folds, and an audit of leaks between them.

A network that has heard a speaker scores far better on that speaker than on a new one, so no function
here puts a speaker on two sides, except `random_split` and `random_folds`, which say so, and those that
follow a split or folds of the data's own, which `audit_split` checks. Every result depends on the
utterances and the seed alone, not on the order in which the utterances were listed.
"""

from ser_keras.splits.audit import LEAK_KINDS, Finding, SplitAudit, audit_split
from ser_keras.splits.folds import PUBLISHED_FOLDS, fixed_folds, leave_one_speaker_out, random_folds, speaker_folds
from ser_keras.splits.holdout import default_split, random_split, speaker_split
from ser_keras.splits.split import (
    SIDES,
    OptimisticScoreWarning,
    SpeakerSplitError,
    Split,
    require_two_emotions,
)

__all__ = [
    "LEAK_KINDS",
    "PUBLISHED_FOLDS",
    "SIDES",
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

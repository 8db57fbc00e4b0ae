"""The speakers of a corpus in two halves, of which each is scored by what was made from the other."""

from collections.abc import Sequence

from ser_keras.corpora import Utterance
from ser_keras.labels import order_emotions


def halves_by_speaker(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Return the clips of every other speaker, and those of the rest."""
    speakers = sorted({each.speaker for each in utterances})
    first = set(speakers[::2])
    halves = (
        [each for each in utterances if each.speaker in first],
        [each for each in utterances if each.speaker not in first],
    )
    assert order_emotions(each.emotion for each in halves[0]) == order_emotions(each.emotion for each in halves[1])
    return halves

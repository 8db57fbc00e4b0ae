"""Whether the folders of named recordings are classes of the user's own, which the names contradict."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ser_keras.corpora.levels import known_emotion, role_of
from ser_keras.corpora.utterance import Utterance

_LEAST_LAMBDA = 0.5


def own_classes(root: Path, utterances: Sequence[Utterance]) -> tuple[Utterance, str] | None:
    """Return a recording whose folder says something else than its name, with that folder; None where all agree.

    Folders disagree where they are named after another emotion than the file, or where they group the emotions of
    the names into classes, such as "negative" and "positive". Folders of speakers, splits or copies do neither.

    Args:
        root: The folder of the corpus.
        utterances: Recordings below it, labelled by their names.
    """
    folders = [each.path.relative_to(root).parts[:-1] for each in utterances]
    for each, names in zip(utterances, folders, strict=True):
        for name in names:
            if known_emotion(name) not in (None, each.emotion):
                return each, name
    for depth in range(max(map(len, folders), default=0)):
        inside = [(each, names[depth]) for each, names in zip(utterances, folders, strict=True) if len(names) > depth]
        if role_of({name for _, name in inside}) != "split" and _group_emotions(inside):
            return _from_largest(inside)
    return None


def _group_emotions(inside: Sequence[tuple[Utterance, str]]) -> bool:
    """Whether folders follow from the emotions, and hold several of them.

    By Goodman and Kruskal's lambda (1954): the share of the errors in guessing a recording's folder that knowing its
    emotion removes. Folders that follow from the speaker, or hold one emotion each, are no classes of their own.

    Args:
        inside: Recordings, each with its folder.
    """
    pairs = Counter((each.emotion, folder) for each, folder in inside)
    sizes = Counter(folder for _, folder in inside)
    speakers = {(each.speaker_id, folder) for each, folder in inside}
    is_finer = len(pairs) == len(sizes)
    follows_from_speaker = len(speakers) == len({speaker for speaker, _ in speakers if speaker})
    if is_finer or follows_from_speaker:
        return False
    emotions = {emotion for emotion, _ in pairs}
    explained = sum(max(pairs[emotion, folder] for folder in sizes) for emotion in emotions)
    errors = len(inside) - max(sizes.values())
    return explained - max(sizes.values()) >= _LEAST_LAMBDA * errors > 0


def _from_largest(inside: Sequence[tuple[Utterance, str]]) -> tuple[Utterance, str]:
    """Return a recording out of the folder with most emotions."""
    emotions = Counter(folder for _, folder in {(each.emotion, folder) for each, folder in inside})
    return max(inside, key=lambda pair: emotions[pair[1]])

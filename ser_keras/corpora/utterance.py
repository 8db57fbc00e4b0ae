"""One labelled recording, and what a folder of them holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_keras.spelling import spelling_key


@dataclass(frozen=True)
class Utterance:
    """One recording, or one segment of a recording, and what is known of it.

    Attributes:
        path: The audio file.
        emotion: A word of `ser_keras.labels.EMOTIONS`, or the user's own label.
        speaker: The publisher's own number or code of the speaker, such as "03", "DC" or "1001".
        corpus: A name of `CORPORA`, "folders", "manifest", or what the manifest says.
        text: The publisher's code of the sentence: the same code, the same words.
        gender: "male" or "female".
        split: "train", "val" or "test", where a manifest says so.
        start_seconds: The segment's start in the file, in seconds; None is the file's start.
        end_seconds: The segment's end in the file, in seconds; None is the file's end.

    Example:
        >>> Utterance(Path("wav/03a01Fa.wav"), "happy", "03", "emodb").speaker_id
        'emodb/03'
    """

    path: Path
    emotion: str
    speaker: str | None
    corpus: str
    text: str | None = None
    gender: str | None = None
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def speaker_id(self) -> str | None:
        """The speaker, told apart across corpora: number 03 of two corpora is two people."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else None

    @property
    def speaker_key(self) -> str | None:
        """What all spellings of the speaker have in common: compare speakers by this, and show `speaker_id`."""
        return spelling_key(self.speaker_id) if self.speaker else None


@dataclass(frozen=True)
class CorpusScan:
    """What a folder holds: the utterances, and every audio file that is none, with the reason.

    Attributes:
        utterances: Sorted by path.
        left_out: Each file that cannot be used, with the reason.
        joined_speakers: Of each speaker who is spelled in several ways, the spellings; the first is used.
    """

    utterances: tuple[Utterance, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    joined_speakers: tuple[tuple[str, ...], ...] = ()


def join_scans(scans: Iterable[CorpusScan]) -> CorpusScan:
    """Return several scans as one, sorted by path."""
    scans = list(scans)
    utterances = (utterance for scan in scans for utterance in scan.utterances)
    left_out = (item for scan in scans for item in scan.left_out)
    return CorpusScan(
        tuple(sorted(utterances, key=lambda each: (str(each.path), each.start_seconds or 0.0))),
        tuple(sorted(left_out, key=lambda item: str(item[0]))),
    )

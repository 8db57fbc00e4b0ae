"""`Utterance`, one labelled recording, and `CorpusScan`, the result of reading a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ser_keras.spelling import spelling_key


@dataclass(frozen=True)
class Utterance:
    """One labelled recording, or one segment of a recording.

    Attributes:
        path: The audio file.
        emotion: A word of `ser_keras.labels.EMOTIONS`, or the user's own label.
        speaker: The publisher's number or code of the speaker, such as "03", "DC" or "1001".
        corpus: A name of `CORPORA`, "folders", "manifest", or the manifest's own name.
        text: The publisher's code of the sentence; the same code means the same words.
        gender: "male" or "female".
        split: "train", "val" or "test", where the dataset defines it.
        start_seconds: Start of the segment in the file, in seconds; None for the file's start.
        end_seconds: End of the segment in the file, in seconds; None for the file's end.

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
        """The speaker with the corpus: number 03 of two corpora is two people."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else None

    @property
    def speaker_key(self) -> str | None:
        """The same for all spellings of one speaker: compare speakers by it, and print `speaker_id`."""
        return spelling_key(self.speaker_id) if self.speaker else None


@dataclass(frozen=True)
class CorpusScan:
    """The utterances of a dataset, and the audio files that are skipped.

    Attributes:
        utterances: Sorted by path.
        skipped: Each file that is not used, with the reason, sorted by path.
        joined_speakers: For each speaker who is spelled in several ways, the spellings; the first one is used.
    """

    utterances: tuple[Utterance, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    joined_speakers: tuple[tuple[str, ...], ...] = ()


def join_scans(scans: Iterable[CorpusScan]) -> CorpusScan:
    """Return several scans as one, sorted by path."""
    scans = list(scans)
    utterances = (utterance for scan in scans for utterance in scan.utterances)
    skipped = (item for scan in scans for item in scan.skipped)
    return CorpusScan(
        tuple(sorted(utterances, key=lambda each: (str(each.path), each.start_seconds or 0.0))),
        tuple(sorted(skipped, key=lambda item: str(item[0]))),
    )

"""IEMOCAP's labels, which are in evaluation files and not in the names of the recordings."""

import re
from collections.abc import Iterable
from pathlib import Path

from ser_keras.errors import InputError

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_EVALUATION = re.compile(r"^\[[\d.]+ - [\d.]+\]\s+(\w+)\s+(\w+)\s+\[", re.MULTILINE)
_EVALUATION_FILE = re.compile(r"(?:.*/)?dialog/EmoEvaluation/[^/]+\.txt", re.IGNORECASE)


def read_evaluations(paths: Iterable[Path]) -> dict[str, str]:
    r"""Read the label of each turn from IEMOCAP's `Session*/dialog/EmoEvaluation/*.txt`.

    Args:
        paths: The evaluation files.

    Returns:
        The publisher's three-letter label (such as `neu`) by the turn's name.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "Ses01F_impro01.txt"
        >>> line = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"
        >>> _ = path.write_text(line)
        >>> read_evaluations([path])
        {'Ses01F_impro01_F000': 'neu'}
    """
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return {turn: label for text in texts for turn, label in _EVALUATION.findall(text)}


def read_iemocap_labels(root: Path, others: list[str]) -> dict[str, str]:
    """Return the label of each turn, by its name in lower case, out of the files below a folder."""
    labels = read_evaluations(root / file for file in others if _EVALUATION_FILE.fullmatch(file))
    if not labels:
        raise InputError(
            f"{root}: files named as in IEMOCAP, whose labels are missing; expected Session1/dialog/EmoEvaluation/*.txt"
            " and so on: give the folder that holds Session1 to Session5 (`corpus='iemocap'`), or choose "
            "`corpus='folders'` for the labels of the folders that the files are in"
        )
    return {turn.lower(): label for turn, label in labels.items()}

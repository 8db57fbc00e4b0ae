"""Compare names of labels and speakers independently of their spelling.

Different programs write the same letter in several ways (Unicode's composed and decomposed forms), leave invisible
characters, and turn 01 into 1.
"""

import re
import unicodedata
from functools import lru_cache

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U000e0000-\U000e0fff]"
)
"""Unicode's Default_Ignorable_Code_Point: soft hyphen, zero width characters, direction marks, byte order mark."""

_MISSING = {"-", "?", "nan", "-nan", "none", "null", "na", "n/a", "<na>", "#n/a", "#na", "undefined"}

_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_NO_FRACTION = re.compile(r"(?<![^/])(\d+)\.0+(?![^/])")
"""A number between slashes that a program has written as 7.0."""


def tidy(text: str) -> str:
    r"""Return a name in Unicode's form NFKC, without invisible characters and with one space between its words.

    Example:
        >>> tidy(" Jo\u0308rg\u200b  K. ") == "J\u00f6rg K."
        True
    """
    return " ".join(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).split())


def is_missing(text: str) -> bool:
    """Return whether a text means a missing value in pandas, R, JavaScript or spreadsheets.

    Example:
        >>> is_missing("NaN"), is_missing("sad")
        (True, False)
    """
    return tidy(text).lower() in _MISSING


@lru_cache(maxsize=100_000)
def spelling_key(name: str) -> str:
    """Return the same key for all spellings of a speaker's name.

    Case, invisible characters, white space, leading zeros of numbers and Unicode's form are ignored; letters and digits
    are not: S1, 1 and S10 are three speakers. Parts between slashes are compared one by one. Two people who count as
    one never leak from training to test, while one person who counts as two can.

    Example:
        >>> spelling_key("SPK 07") == spelling_key("spk 7"), spelling_key("S1") == spelling_key("1")
        (True, False)
    """
    folded = unicodedata.normalize("NFKC", tidy(name).casefold())
    return _NO_FRACTION.sub(r"\1", _LEADING_ZEROS.sub("", folded))

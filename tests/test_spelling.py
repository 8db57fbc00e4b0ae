"""Spellings of one name have one key, those of two names have two."""

import random
import sys
import unicodedata

import pytest

from ser_keras.spelling import spelling_key, tidy

JOERG = "J\u00f6rg"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "01"),
        ("spk1", "SPK001"),
        ("anna", "Anna"),
        ("STRASSE", "stra\u00dfe"),
        (JOERG, unicodedata.normalize("NFD", JOERG)),
        ("\uff21\uff11", "a1"),
        ("anna", "\ufeffan\u00adna\u200b\u200e"),
        (" anna  k", "anna\u00a0K "),
        ("7", "7.0"),
        ("emodb/03", "EmoDB/3"),
    ],
)
def test_spellings_of_one_speaker_have_one_key(one, other):
    assert spelling_key(one) == spelling_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("S1", "1"), ("1", "10"), ("0", ""), ("s1a2", "s12a"), ("anna", "ana"), ("1.5", "1"), ("s_1", "s1")],
)
def test_names_that_differ_in_a_letter_or_a_digit_have_two_keys(one, other):
    assert spelling_key(one) != spelling_key(other)


@pytest.fixture(scope="module")
def texts():
    """Short texts of characters from all of Unicode, every second of them a letter or a mark on one."""
    draw = random.Random(0)
    common = [*range(0x20, 0x370), *range(0x300, 0x370), *range(0x200B, 0x2070)]
    codes = [(draw.choice(common), draw.randrange(sys.maxunicode + 1)) for _ in range(20_000)]
    return ["".join(map(chr, (*codes[place], *codes[place + 1]))) for place in range(0, len(codes), 2)]


def test_a_tidy_name_stays_as_it_is(texts):
    assert [text for text in texts if tidy(tidy(text)) != tidy(text)] == []


@pytest.mark.parametrize("function", [tidy, spelling_key])
def test_unicode_s_forms_of_a_name_are_one(function, texts):
    for text in texts:
        assert len({function(unicodedata.normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}) == 1, text

"""A folder of audio -> a sorted list of `Utterance(path, emotion, speaker, ...)`.

A published corpus is recognised by its publisher's file names (`CORPORA`, one row a corpus). Own
recordings are read by the names of their folders ("folders") or from a table ("manifest").
"""

from ser_keras.corpora.naming import Corpus
from ser_keras.corpora.reading import read_corpus, scan_corpus
from ser_keras.corpora.table import CORPORA
from ser_keras.corpora.utterance import CorpusScan, Utterance

__all__ = ["CORPORA", "Corpus", "CorpusScan", "Utterance", "read_corpus", "scan_corpus"]

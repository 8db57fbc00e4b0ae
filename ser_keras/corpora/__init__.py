"""Read the labels of a dataset: a folder of audio becomes a sorted list of `Utterance(path, emotion, speaker, ...)`.

Published corpora are recognised by their publishers' file names (`CORPORA`, one row per corpus). Your own
recordings are read by the names of their folders ("folders") or from a table ("manifest").
"""

from ser_keras.corpora.naming import CORPORA, Corpus
from ser_keras.corpora.reading import read_corpus, scan_corpus
from ser_keras.corpora.utterance import CorpusScan, Utterance

__all__ = ["CORPORA", "Corpus", "CorpusScan", "Utterance", "read_corpus", "scan_corpus"]

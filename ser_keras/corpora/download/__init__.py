"""Published corpora by name: fetched from where they are published, checked, unpacked.

`SOURCES` has one row a corpus. The rest is one path for all: the licence first, then the files, each resumed
where it broke off, then a folder that is there whole or not at all.
"""

from ser_keras.corpora.download.corpus import download_corpus
from ser_keras.corpora.download.sources import SOURCES, Source, find_source

__all__ = ["SOURCES", "Source", "download_corpus", "find_source"]

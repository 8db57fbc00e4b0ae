"""Published corpora by name: fetched from their publishers, verified, unpacked.

`SOURCES` has one row for each corpus. The folder of a corpus appears whole or not at all.
"""

from ser_keras.corpora.download.corpus import download_corpus
from ser_keras.corpora.download.sources import SOURCES, Source, find_source

__all__ = ["SOURCES", "Source", "download_corpus", "find_source"]

"""download_corpus: a corpus by its name, from its publisher, audb or TensorFlow Datasets."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ser_keras.corpora.download.fetching import fetch_file
from ser_keras.corpora.download.libraries import load_by_audb, load_by_tfds
from ser_keras.corpora.download.sources import RemoteFile, Source, find_source
from ser_keras.corpora.download.unpacking import unpack
from ser_keras.errors import InputError
from ser_keras.files import whole_directory

_CONNECTIONS = 8


def download_corpus(
    name: str,
    directory: str | Path,
    *,
    accept_licence: bool = False,
    origin: str = "publisher",
    report: Callable[[str], None] = print,
) -> Path:
    """Fetch a published corpus, and return the folder that `preprocess_data` takes.

    The same call continues an interrupted download.

    Args:
        name: of the corpus, such as ``ravdess``; see `SOURCES`.
        directory: folder that gets a folder of that name.
        accept_licence: whether you have read and accept the corpus's licence.
        origin: ``publisher``, ``audb`` or ``tfds``; audb and tensorflow_datasets have to be installed.
        report: receives a line about each file without a known checksum.

    Returns:
        The corpus's folder. An existing one is left as it is.

    Raises:
        InputError: the licence was not accepted, the corpus is not available there, or a file has a wrong checksum.
        OSError: the disk is full or cannot be written.

    Example:
        ```python
        folder = download_corpus("ravdess", "corpora", accept_licence=True)
        train_data, val_data, test_data = preprocess_data(folder)
        ```
    """
    source = find_source(name)
    target = Path(directory) / source.name
    if target.exists():
        return target
    if not accept_licence:
        raise InputError(
            f"{source.title}: {source.licence}; read the terms at {source.page} and accept them with "
            "`accept_licence=True`"
        )
    if origin == "audb":
        return load_by_audb(source, target)
    if origin == "tfds":
        return load_by_tfds(source, target)
    if source.listed:
        return _fetch_listed(source, source.listed, target)
    if not source.files:
        raise InputError(
            f"{source.title}: only available from its publishers, at {source.page}; unpack it and give its folder"
        )
    return _fetch_archives(source, target, report)


def _fetch_archives(source: Source, target: Path, report: Callable[[str], None]) -> Path:
    archives = [target.with_name(each.name) for each in source.files]
    for each, archive in zip(source.files, archives, strict=True):
        checksum = fetch_file(each.url, archive, each.known_hash)
        if each.known_hash is None:
            report(f"{each.url}: {checksum}; not verified, its checksum is unknown")
    with whole_directory(target) as part:
        for archive in archives:
            unpack(archive, part)
    for archive in archives:
        archive.unlink()
    return target


def _fetch_listed(source: Source, listed: RemoteFile, target: Path) -> Path:
    """Fetch single files by a list of their addresses, sizes and checksums; existing ones stay."""
    from tqdm import tqdm

    part = target.with_name(f"{target.name}.parts")
    fetch_file(listed.url, part / listed.name, listed.known_hash)
    hashes = read_list((part / listed.name).read_text(), source.base)

    def fetch(item: tuple[str, str]) -> None:
        name, known_hash = item
        fetch_file(source.base + name, part / "audio" / name, known_hash, progress=False)

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        fetched = pool.map(fetch, hashes.items())
        try:
            for _ in tqdm(fetched, source.title, len(hashes), unit="file", disable=None):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    (part / "audio").rename(target)
    shutil.rmtree(part)
    return target


def read_list(text: str, base: str) -> dict[str, str]:
    r"""Read a list as TensorFlow Datasets writes it: address, size and sha256 in a line.

    Args:
        text: the list.
        base: the beginning of an address; other addresses are skipped, and so are names that leave the folder.

    Returns:
        The checksum of each file by its name.

    Raises:
        InputError: the list has no such file.

    Example:
        >>> read_list("https://x.org/a.wav 8 beef\nhttps://y.org/b.wav 8 cafe\n", "https://x.org/")
        {'a.wav': 'sha256:beef'}
    """
    rows = (line.split() for line in text.splitlines())
    known = {row[0].removeprefix(base): f"sha256:{row[2]}" for row in rows if len(row) >= 3 and row[0].startswith(base)}
    hashes = {name: known_hash for name, known_hash in known.items() if name and "/" not in name and "\\" not in name}
    if not hashes:
        raise InputError(f"the list names no file of {base}; it may have changed")
    return hashes

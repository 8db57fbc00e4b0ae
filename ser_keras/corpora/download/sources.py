"""Address, licence and checksums of each published corpus.

Every address and checksum comes from the public place that `cited` names. A corpus without files is only available
from its publishers.
"""

from dataclasses import dataclass

from ser_keras.corpora.naming import squash
from ser_keras.errors import InputError


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        url: its address.
        name: its local name.
        cited: the place that names the address, and the checksum if there is one.
        known_hash: ``md5:...`` or ``sha256:...``; None if unknown.
        num_bytes: its size, in bytes; None if unknown.
    """

    url: str
    name: str
    cited: str
    known_hash: str | None = None
    num_bytes: int | None = None


@dataclass(frozen=True)
class Source:
    """The source of a corpus.

    Attributes:
        name: of the corpus, as in `ser_keras.corpora.CORPORA`.
        title: its name for people.
        licence: in short.
        page: describes the licence and the corpus.
        files: archives to fetch and unpack; empty if only the publishers distribute it.
        listed: a list of files to fetch one by one, instead of archives.
        base: the beginning of the addresses in such a list; others are skipped.
        audb: its name in audEERING's public repository.
        tfds: its name in TensorFlow Datasets.
    """

    name: str
    title: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...] = ()
    listed: RemoteFile | None = None
    base: str = ""
    audb: str | None = None
    tfds: str | None = None

    @property
    def num_bytes(self) -> int | None:
        """Size of all files, in bytes; None if unknown."""
        sizes = [each.num_bytes for each in self.files]
        return sum(sizes) if sizes and None not in sizes else None


_AUDEERING = "github.com/audeering/datasets"

SOURCES: tuple[Source, ...] = (
    Source(
        name="ravdess",
        title="RAVDESS, speech",
        licence="CC BY-NC-SA 4.0",
        page="https://zenodo.org/records/1188976",
        files=(
            RemoteFile(
                "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
                "Audio_Speech_Actors_01-24.zip",
                "Zenodo record 1188976: size and md5",
                "md5:bc696df654c87fed845eb13823edef8a",
                208_468_073,
            ),
        ),
        audb="ravdess",
    ),
    Source(
        name="emodb",
        title="EmoDB",
        licence="free to use, no formal licence; CC0 1.0 as audEERING publishes it",
        page="http://emodb.bilderbar.info",
        files=(
            RemoteFile(
                "http://emodb.bilderbar.info/download/download.zip",
                "emodb.zip",
                "audb's documentation, `audb.info.source('emodb')`",
            ),
        ),
        audb="emodb",
    ),
    Source(
        name="tess",
        title="TESS",
        licence="Creative Commons, non-commercial; read the page",
        page="https://doi.org/10.5683/SP2/E8H2MF",
        files=(
            RemoteFile(
                "https://bj.bcebos.com/paddleaudio/datasets/TESS_Toronto_emotional_speech_set.zip",
                "TESS_Toronto_emotional_speech_set.zip",
                "PaddleSpeech, paddlespeech/audio/datasets/tess.py: address and md5 of its copy",
                "md5:1465311b24d1de704c4c63e4ccc470c7",
            ),
        ),
    ),
    Source(
        name="cremad",
        title="CREMA-D",
        licence="ODbL 1.0",
        page="https://github.com/CheyneyComputerScience/CREMA-D",
        listed=RemoteFile(
            "https://storage.googleapis.com/tfds-data/manual_checksums/crema_d.txt",
            "crema_d.txt",
            "tensorflow/datasets, url_checksums/crema_d.txt: size and sha256 of the list of sizes and sha256s",
            "sha256:66b5d959dcee997321baf9080c80022a6937279419446db3a9d4827d839b0abb",
            1_339_905,
        ),
        base="https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/AudioWAV/",
        audb="crema-d",
        tfds="crema_d",
    ),
    Source(
        name="nemo",
        title="nEMO",
        licence="CC BY-NC-SA 4.0",
        page="https://github.com/amu-cai/nEMO",
        files=(
            RemoteFile(
                "https://github.com/amu-cai/nEMO/archive/06f1f83dde8f1a780443a57d53b2af3971af34ab.zip",
                "nEMO.zip",
                "the publisher's repository at the commit of its samples, by GitHub's address of archives",
            ),
        ),
        audb="nemo",
    ),
    Source(
        name="urdu",
        title="URDU",
        licence="for research only",
        page="https://github.com/siddiquelatif/URDU-Dataset",
        files=(
            RemoteFile(
                "https://github.com/siddiquelatif/URDU-Dataset/archive/refs/heads/master.zip",
                "URDU-Dataset.zip",
                "public scripts that fetch the publisher's repository",
            ),
        ),
    ),
    Source(
        name="turev",
        title="TurEV-DB",
        licence="CC BY-NC-ND 4.0",
        page="https://github.com/Xeonen/TurEV-DB",
        files=(
            RemoteFile(
                "https://github.com/Xeonen/TurEV-DB/archive/2b847d38d7cf9d126e6a3ae5e8176aabcdd01893.zip",
                "TurEV-DB.zip",
                "the publisher's repository at a commit, by GitHub's address of archives",
            ),
        ),
    ),
    Source(
        name="shemo",
        title="ShEMO",
        licence="for academic purposes",
        page="https://github.com/pariajm/sharif-emotional-speech-dataset",
        files=tuple(
            RemoteFile(
                f"https://github.com/pariajm/sharif-emotional-speech-database/blob/master/{part}.zip?raw=true",
                f"shemo-{part}.zip",
                "the publisher's README",
            )
            for part in ("female", "male")
        ),
    ),
    Source(
        name="banglaser",
        title="BanglaSER",
        licence="CC BY 4.0",
        page="https://data.mendeley.com/datasets/t9h6p943xy/5",
        files=(
            RemoteFile(
                "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/t9h6p943xy-5.zip",
                "t9h6p943xy-5.zip",
                "Nkululeko, data/banglaser/README.md",
            ),
        ),
    ),
    Source("savee", "SAVEE", "for research, after registration", "http://kahlan.eps.surrey.ac.uk/savee"),
    Source("emovo", "EMOVO", "for research", "http://voice.fub.it/activities/corpora/emovo"),
    Source("ased", "ASED", "for research", "https://github.com/Ethio2021/ASED_V1"),
    Source("iemocap", "IEMOCAP", "for research, on request", "https://sail.usc.edu/iemocap"),
)


def find_source(name: str) -> Source:
    """Return the row of a corpus, whatever the case and the signs in its name.

    Raises:
        InputError: there is no such corpus.

    Example:
        >>> find_source("CREMA-D").name
        'cremad'
    """
    for source in SOURCES:
        if squash(name) in (source.name, squash(source.title)):
            return source
    raise InputError(f"{name}: no such corpus; there are {', '.join(source.name for source in SOURCES)}")

"""Corpora by name: fetched whole or resumed, compared with their checksums, unpacked without harm."""

import errno
import hashlib
import io
import json
import shutil
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from file_server import serving

from ser_keras.cli import main
from ser_keras.corpora import CORPORA, read_corpus
from ser_keras.corpora.download import SOURCES, corpus, download_corpus, fetching, find_source
from ser_keras.corpora.download.corpus import read_list
from ser_keras.corpora.download.fetching import fetch_file
from ser_keras.corpora.download.sources import RemoteFile, Source
from ser_keras.corpora.download.unpacking import unpack
from ser_keras.errors import InputError

CONTENTS = bytes(range(256)) * 8_000  # 2 MB
MD5 = "md5:" + hashlib.md5(CONTENTS).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENTS).hexdigest()


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as site:
        site.files["/a.zip"] = CONTENTS
        yield site


def zipped(files, **attributes):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, contents in files.items():
            info = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, contents)
    return file.getvalue()


class TestFetching:
    def test_a_file_is_fetched_and_checked(self, site, tmp_path):
        assert fetch_file(f"{site.url}/a.zip", tmp_path / "deep" / "a.zip", MD5) == MD5
        assert (tmp_path / "deep" / "a.zip").read_bytes() == CONTENTS
        assert [each.name for each in (tmp_path / "deep").iterdir()] == ["a.zip"]

    def test_without_a_known_checksum_it_is_told(self, site, tmp_path):
        assert fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None) == SHA256

    def test_what_is_there_is_not_fetched_again(self, site, tmp_path):
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", MD5)
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", MD5)
        assert len(site.requests) == 1

    def test_a_cut_connection_is_taken_up_where_it_broke(self, site, tmp_path):
        site.cuts = [700_000, 300_000]
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", MD5)
        assert (tmp_path / "a.zip").read_bytes() == CONTENTS
        first, second = (int(asked.strip("bytes=-")) for _, asked in site.requests[1:])
        assert 650_000 < first <= 700_000 and 900_000 < second <= 1_000_000 and len(site.requests) == 3

    def test_the_next_run_goes_on_where_the_last_one_gave_up(self, site, tmp_path):
        site.cuts = [100_000] * fetching.ATTEMPTS
        with pytest.raises(InputError, match="run the same command again"):
            fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None)
        assert not (tmp_path / "a.zip").exists()
        site.requests.clear()
        assert fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None) == SHA256
        ((_, asked),) = site.requests
        assert 400_000 < int(asked.strip("bytes=-")) <= 500_000

    @pytest.mark.parametrize("lacking", ["has_tags", "knows_ranges"])
    def test_a_server_that_cannot_go_on_begins_again(self, site, tmp_path, lacking):
        setattr(site, lacking, False)
        site.cuts = [700_000]
        assert fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None) == SHA256

    def test_a_file_that_changed_meanwhile_is_not_mixed_with_its_past(self, site, tmp_path):
        site.cuts = [100_000] * fetching.ATTEMPTS
        with pytest.raises(InputError):
            fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None)
        site.files["/a.zip"] = CONTENTS[::-1]
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None)
        assert (tmp_path / "a.zip").read_bytes() == CONTENTS[::-1]

    def test_a_part_that_is_longer_than_the_file_is_thrown_away(self, site, tmp_path):
        (tmp_path / "a.zip.part").write_bytes(CONTENTS + b"more")
        (tmp_path / "a.zip.part.tag").write_text(f'"{MD5[4:]}"')
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", MD5)
        assert (tmp_path / "a.zip").read_bytes() == CONTENTS

    def test_a_server_that_tells_no_length_is_read_to_its_end(self, site, tmp_path):
        site.tells_length = False
        fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", MD5)
        assert (tmp_path / "a.zip").read_bytes() == CONTENTS

    def test_a_wrong_checksum_leaves_nothing(self, site, tmp_path):
        with pytest.raises(InputError, match=r"a\.zip: MD5 hash of downloaded file .* does not match"):
            fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", "md5:" + "0" * 32)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_is_not_there_is_one_line(self, site, tmp_path):
        with pytest.raises(InputError, match=r"none\.zip: .*404 Not Found; the file may have moved"):
            fetch_file(f"{site.url}/none.zip", tmp_path / "none.zip", None)
        assert len(site.requests) == 1

    def test_a_server_that_is_not_there_is_one_line(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NO_PROXY", "*")
        with pytest.raises(InputError, match="run the same command again"):
            fetch_file("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", None)

    def test_too_little_room_is_found_before_the_work(self, site, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(InputError, match="2 MB to come, 1 MB free; make room"):
            fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_names_the_file(self, site, tmp_path):
        (tmp_path / "a.zip.part").symlink_to("/dev/full")
        with pytest.raises(OSError, match=r"'.*a\.zip\.part'") as raised:
            fetch_file(f"{site.url}/a.zip", tmp_path / "a.zip", None)
        assert raised.value.errno == errno.ENOSPC


class TestUnpacking:
    @pytest.fixture
    def archive(self, tmp_path):
        return tmp_path / "archive"

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    def refuses(self, archive, folder, message, **options):
        with pytest.raises(InputError, match=message):
            unpack(archive, folder, **options)
        assert list(folder.iterdir()) == [] and len(list(folder.parent.iterdir())) == 2

    def tarred(self, archive, *members):
        with tarfile.open(archive, "w:gz") as opened:
            for info in members:
                opened.addfile(info, io.BytesIO(bytes(info.size)))

    def test_a_zip_is_unpacked(self, archive, folder):
        archive.write_bytes(zipped({"a/": b"", "a/x.wav": b"x", "ü.wav": b"y"}))
        unpack(archive, folder)
        assert (folder / "a" / "x.wav").read_bytes() == b"x" and (folder / "ü.wav").read_bytes() == b"y"

    def test_a_tar_is_unpacked(self, archive, folder):
        info = tarfile.TarInfo("a/x.wav")
        info.size = 3
        self.tarred(archive, info)
        unpack(archive, folder)
        assert (folder / "a" / "x.wav").read_bytes() == bytes(3)

    @pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "..\\x", "\\x", "C:x"])
    def test_no_member_leaves_the_folder(self, archive, folder, name):
        archive.write_bytes(zipped({"good.wav": b"x", name: b"x"}))
        self.refuses(archive, folder, "leads out of the folder; nothing was unpacked")
        self.tarred(archive, tarfile.TarInfo(name))
        self.refuses(archive, folder, "leads out of the folder; nothing was unpacked")

    def test_a_zip_holds_no_links(self, archive, folder):
        archive.write_bytes(zipped({"link": b"/etc/passwd"}, external_attr=0o120777 << 16))
        self.refuses(archive, folder, "'link' is neither a file nor a folder")

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_a_tar_holds_no_links_and_no_devices(self, archive, folder, kind):
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "good.wav"
        self.tarred(archive, info)
        self.refuses(archive, folder, "'link' is neither a file nor a folder")

    def test_what_it_holds_is_bounded(self, archive, folder):
        archive.write_bytes(zipped({"a.wav": bytes(600), "b.wav": bytes(600)}))
        self.refuses(archive, folder, "holds 0 MB, at most 0 MB are unpacked", most_bytes=1_000)
        info = tarfile.TarInfo("a.wav")
        info.size = 1_200
        self.tarred(archive, info)
        self.refuses(archive, folder, "holds 0 MB", most_bytes=1_000)

    def test_a_size_that_lies_is_found_out(self, archive, folder):
        contents = bytearray(zipped({"a.wav": bytes(5_000)}))
        for place in (22, contents.rindex(b"PK\x01\x02") + 24):  # the uncompressed size, at both of its places
            contents[place : place + 4] = (10).to_bytes(4, "little")
        archive.write_bytes(contents)
        with pytest.raises(InputError, match="cannot be unpacked"):
            unpack(archive, folder, most_bytes=1_000)
        assert sum(each.stat().st_size for each in folder.rglob("*")) <= 1_000

    @pytest.mark.parametrize("contents", [b"<html>not found</html>", b"", zipped({"a.wav": bytes(500)})[:300]])
    def test_what_is_no_archive_is_one_line(self, archive, folder, contents):
        archive.write_bytes(contents)
        self.refuses(archive, folder, r"archive: (neither a ZIP nor a tar file|cannot be unpacked)")

    def test_a_damage_within_is_one_line(self, archive, folder):
        contents = io.BytesIO()
        with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("a.wav", np.random.default_rng(0).integers(0, 9, 9_000).astype(np.uint8).tobytes())
        damaged = bytearray(contents.getvalue())
        damaged[500:540] = bytes(range(40))
        archive.write_bytes(damaged)
        with pytest.raises(InputError, match="archive: cannot be unpacked"):
            unpack(archive, folder)


def emodb_zip():
    return zipped({f"wav/{speaker}a01{code}a.wav": b"RIFF" for speaker in ("03", "08") for code in "FW"})


@pytest.fixture
def source(site, monkeypatch):
    """Put a corpus of our own in the place of EmoDB."""
    site.files["/emodb.zip"] = emodb_zip()
    sha256 = "sha256:" + hashlib.sha256(site.files["/emodb.zip"]).hexdigest()
    file = RemoteFile(f"{site.url}/emodb.zip", "emodb.zip", "the test", sha256)
    source = Source("emodb", "EmoDB", "CC0", "http://page", (file,), audb="emodb", tfds="emodb")
    monkeypatch.setattr(corpus, "find_source", lambda name: source)
    monkeypatch.setattr("ser_keras.corpora.download.find_source", lambda name: source)
    return source


def change(monkeypatch, source, **changes):
    from dataclasses import replace

    changed = replace(source, **changes)
    monkeypatch.setattr(corpus, "find_source", lambda name: changed)
    return changed


class TestCorpus:
    def test_it_is_unpacked_and_read_by_its_name(self, source, tmp_path):
        folder = download_corpus("emodb", tmp_path / "corpora", accept_licence=True)
        assert folder == tmp_path / "corpora" / "emodb"
        assert [each.emotion for each in read_corpus(folder)] == ["happy", "angry"] * 2
        assert [each.name for each in (tmp_path / "corpora").iterdir()] == ["emodb"]

    def test_nothing_is_fetched_before_the_licence_is_accepted(self, source, site, tmp_path):
        with pytest.raises(InputError, match=r"EmoDB: CC0; read the terms at http://page .*`accept_licence=True`"):
            download_corpus("emodb", tmp_path)
        assert site.requests == []

    def test_what_is_there_is_left_alone(self, source, site, tmp_path):
        (tmp_path / "emodb").mkdir()
        assert download_corpus("emodb", tmp_path) == tmp_path / "emodb"
        assert site.requests == []

    def test_an_archive_that_could_do_harm_leaves_no_corpus(self, source, site, tmp_path, monkeypatch):
        site.files["/emodb.zip"] = zipped({"../x": b""})
        change(monkeypatch, source, files=(RemoteFile(f"{site.url}/emodb.zip", "emodb.zip", "the test"),))
        with pytest.raises(InputError, match="leads out of the folder"):
            download_corpus("emodb", tmp_path, accept_licence=True, report=lambda line: None)
        assert [each.name for each in tmp_path.iterdir()] == ["emodb.zip"]

    def test_a_checksum_that_is_not_known_is_told_with_the_one_that_came(self, source, site, tmp_path, monkeypatch):
        change(monkeypatch, source, files=(RemoteFile(f"{site.url}/emodb.zip", "emodb.zip", "the test"),))
        lines = []
        download_corpus("emodb", tmp_path, accept_licence=True, report=lines.append)
        sha256 = hashlib.sha256(site.files["/emodb.zip"]).hexdigest()
        assert len(lines) == 1 and lines[0].startswith(f"{site.url}/emodb.zip: sha256:{sha256}; not verified")

    def test_a_corpus_on_request_says_where(self, source, tmp_path, monkeypatch):
        change(monkeypatch, source, files=())
        with pytest.raises(InputError, match="from its publishers, at http://page"):
            download_corpus("emodb", tmp_path, accept_licence=True)

    def test_a_list_of_files_is_fetched_file_by_file_and_resumed(self, source, site, tmp_path, monkeypatch):
        files = {f"10{number}_DFA_ANG_XX.wav": bytes([number]) * 1_000 for number in range(10, 40)}
        site.files |= {f"/wav/{name}": contents for name, contents in files.items()}
        lines = [f"{site.url}/wav/{name} 1000 {hashlib.sha256(data).hexdigest()}" for name, data in files.items()]
        site.files["/list.txt"] = "\n".join([f"{site.url}/table.csv 8 beef", *lines]).encode()
        listed = RemoteFile(f"{site.url}/list.txt", "list.txt", "the test")
        change(monkeypatch, source, name="cremad", listed=listed, base=f"{site.url}/wav/")
        broken = site.files.pop("/wav/1020_DFA_ANG_XX.wav")
        with pytest.raises(InputError, match=r"1020_DFA_ANG_XX\.wav: .*404"):
            download_corpus("cremad", tmp_path, accept_licence=True)
        assert not (tmp_path / "cremad").exists()
        before = [path for path, _ in site.requests]
        site.files["/wav/1020_DFA_ANG_XX.wav"] = broken
        folder = download_corpus("cremad", tmp_path, accept_licence=True)
        assert {each.name: each.read_bytes() for each in folder.iterdir()} == files
        assert [each.name for each in tmp_path.iterdir()] == ["cremad"]
        assert len(site.requests) - len(before) < len(files)

    def test_a_list_cannot_name_files_elsewhere(self):
        text = "http://x/a.wav 1 beef\nhttp://x/../b.wav 1 beef\nhttp://x/c/d.wav 1 beef\nhttp://y/e.wav 1 beef\n"
        assert read_list(text, "http://x/") == {"a.wav": "sha256:beef"}
        with pytest.raises(InputError, match="names no file of http://z/"):
            read_list(text, "http://z/")

    def test_audb_is_asked_for_the_original_files(self, source, tmp_path, monkeypatch):
        audb = types.ModuleType("audb")

        def load_to(root, name):
            assert name == "emodb"
            with zipfile.ZipFile(io.BytesIO(emodb_zip())) as archive:
                archive.extractall(root)

        audb.load_to = load_to
        monkeypatch.setitem(sys.modules, "audb", audb)
        folder = download_corpus("emodb", tmp_path, accept_licence=True, origin="audb")
        assert len(read_corpus(folder)) == 4

    def test_tensorflow_datasets_become_files_with_a_manifest(self, source, tmp_path, monkeypatch):
        change(monkeypatch, source, name="cremad", tfds="crema_d")
        tfds = types.ModuleType("tensorflow_datasets")
        label = types.SimpleNamespace(int2str=["NEU", "HAP"].__getitem__)
        features = {"audio": types.SimpleNamespace(sample_rate=16_000), "label": label}
        samples = np.array([0, 2**15 - 1, -(2**15)], np.int64)
        examples = [{"audio": samples, "label": np.int64(index), "speaker_id": b"1001"} for index in (1, 0)]

        def load(name, *, split, with_info):
            assert (name, split, with_info) == ("crema_d", "train+validation+test", True)
            return examples, types.SimpleNamespace(features=features)

        tfds.load, tfds.as_numpy = load, iter
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", tfds)
        folder = download_corpus("crema-d", tmp_path, accept_licence=True, origin="tfds")
        assert [(each.emotion, each.speaker) for each in read_corpus(folder)] == [
            ("happy", "1001"),
            ("neutral", "1001"),
        ]
        given, rate = soundfile.read(folder / "00001.wav", dtype="int16")
        assert rate == 16_000 and given.tolist() == samples.tolist()

    @pytest.mark.parametrize(("origin", "module"), [("audb", "audb"), ("tfds", "tensorflow_datasets")])
    def test_a_library_that_is_missing_is_one_line(self, source, tmp_path, monkeypatch, origin, module):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=f"EmoDB: {module} is not installed; pip install"):
            download_corpus("emodb", tmp_path, accept_licence=True, origin=origin)
        change(monkeypatch, source, audb=None, tfds=None)
        with pytest.raises(InputError, match="use `origin='publisher'`"):
            download_corpus("emodb", tmp_path, accept_licence=True, origin=origin)


class TestSources:
    def test_each_corpus_that_is_read_has_a_row_and_each_row_is_read(self):
        assert {source.name for source in SOURCES} == {each.name for each in CORPORA}

    def test_each_file_says_where_its_address_was_found(self):
        files = [file for source in SOURCES for file in (*source.files, *filter(None, [source.listed]))]
        assert all(file.cited and file.url.startswith("http") for file in files)
        assert all(file.known_hash is None or file.known_hash.split(":")[0] in ("md5", "sha256") for file in files)
        assert all(source.licence and source.page.startswith("http") for source in SOURCES)

    @pytest.mark.parametrize("name", ["CREMA-D", "crema_d", "cremad"])
    def test_a_name_is_found_however_it_is_written(self, name):
        assert find_source(name).title == "CREMA-D"

    def test_an_unknown_name_is_one_line(self):
        with pytest.raises(InputError, match="no such corpus; there are ravdess, emodb"):
            find_source("nothing")


class TestVerb:
    def test_a_corpus_is_fetched_and_the_next_step_is_shown(self, source, tmp_path, capsys):
        assert main(["download", "emodb", "--to", str(tmp_path), "--accept-licence"]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("EmoDB   CC0   http://page\n")
        assert f"ser-keras train --dataset-path {tmp_path / 'emodb'}" in printed

    def test_the_licence_is_shown_first(self, source, tmp_path, capsys):
        assert main(["download", "emodb", "--to", str(tmp_path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == "EmoDB   CC0   http://page\n" and "--accept-licence" in captured.err

    def test_the_list_names_all(self, capsys):
        assert main(["download", "--list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines[1:]] == [source.name for source in SOURCES]
        assert lines[1].split()[1:3] == ["208", "yes"]

    def test_the_list_is_there_as_json_too(self, capsys):
        assert main(["download", "--list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert rows[0]["name"] == "ravdess" and rows[0]["files"][0]["num_bytes"] == 208_468_073

    def test_without_a_name_there_is_one_line(self, capsys):
        assert main(["download"]) == 2
        assert "--list" in capsys.readouterr().err

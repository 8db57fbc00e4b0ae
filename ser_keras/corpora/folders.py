"""Labels that are in the names of folders and files: which part of the path is the emotion, which the speaker."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ser_keras.corpora.agreement import own_classes
from ser_keras.corpora.layout import Layout, few, ordinal
from ser_keras.corpora.levels import GENDER_OF, known_emotion, role_of, splits_of
from ser_keras.corpora.table import CORPORA_BY_NAME
from ser_keras.corpora.utterance import CorpusScan, Utterance, join_scans
from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion
from ser_keras.terminal import UNPRINTABLE

_logger = logging.getLogger(__name__)

_SAMPLE = 1_000


def read_folders(root: Path, audio: list[str], layout: Layout | None = None) -> tuple[CorpusScan, str]:
    """Label recordings by the names of their folders, or by words in their own names.

    Args:
        root: The dataset's folder.
        audio: The files below it.
        layout: Which part of a path is what; None to find it out.

    Returns:
        The recordings, and those that do not fit as rejected ones; and what was understood, in words.

    Raises:
        InputError: It is not clear which part is the emotion, folders and names contradict each other, or a given
            layout fits no file.
    """
    tree = None if layout else _Tree(root, audio)
    layout = layout or tree.layout()
    read = {file: layout.read(file) for file in audio}
    found = {file: fields for file, fields in read.items() if fields is not None}
    if not found:
        raise InputError(
            f"{root}: no file is as the layout {layout.pattern!r} says (first: {audio[0]}); give a pattern of the "
            "whole path, in which * stands for the rest, such as '{speaker}/{emotion}/*'"
        )
    splits = splits_of(dict.fromkeys(fields["split"] for fields in found.values() if "split" in fields))
    utterances = tuple(_utterance(root / file, fields, splits) for file, fields in found.items())
    if tree:
        tree.check(layout, utterances)
    reason = f"not in a folder as the layout {layout.pattern} says"
    rejected = tuple((root / file, reason) for file in audio if file not in found)
    return join_scans([CorpusScan(utterances, rejected)]), layout.describe(list(found.values()), splits)


def splits_by_folder(files: Sequence[str]) -> list[str | None]:
    """Return the split of each file, where all folders of one level are named after splits; else None for each."""
    folders = [file.split("/")[:-1] for file in files]
    for depth in range(min(map(len, folders), default=0)):
        names = {each[depth] for each in folders}
        if len(names) > 1 and role_of(names) == "split":
            return [splits_of(names)[each[depth]] for each in folders]
    return [None] * len(files)


def _utterance(path: Path, fields: dict[str, str], splits: dict[str, str]) -> Utterance:
    if UNPRINTABLE.search(fields.get("speaker", "")):
        raise InputError(f"{path}: the speaker's folder has characters that are no text; rename it in UTF-8")
    return Utterance(
        path=path,
        emotion=canonical_emotion(fields["emotion"]),
        speaker=fields.get("speaker"),
        corpus="folders",
        gender=GENDER_OF.get(fields.get("gender", "").strip().lower()),
        split=splits[fields["split"]] if "split" in fields else None,
    )


def _emotions_in(files: Sequence[str], name: str) -> list[str | None]:
    """Return for each file the known emotion that its name holds, by a pattern of the name."""
    read = Layout(name).read
    return [known_emotion((read(file.rpartition("/")[2]) or {}).get("emotion", "")) for file in files]


class _Tree:
    """The folders of a dataset, level by level, and what their names say.

    Levels are those that half of the files have. A level with one name tells nothing apart, and has no role.
    """

    def __init__(self, root: Path, audio: list[str]):
        self._root = root
        self._audio = audio
        self._folders = [file.split("/")[:-1] for file in audio]
        inside = [folders for folders in self._folders if folders]
        depths = range(max(map(len, inside), default=0))
        self._levels = [
            {folders[depth] for folders in inside if len(folders) > depth}
            for depth in depths
            if 2 * sum(len(folders) > depth for folders in inside) >= len(inside)
        ]
        self._roles = self._find_roles()

    def layout(self) -> Layout:
        """Return the only layout that fits.

        Raises:
            InputError: there are several, or none.
        """
        depth, name = self._find_emotion()
        if self._depths("mixed"):
            self._refuse_unclear([depth] if depth is not None else [], name)
        fields = {} if depth is None else {depth: "emotion"}
        for role in ("speaker", "split", "gender"):
            depths = self._depths(role) or ([] if role != "speaker" else self._unnamed_speakers(fields))
            if len(depths) > 1 or not all(self._is_everywhere(each, depth) for each in depths):
                self._refuse_unclear([depth] if depth is not None else [], name)
            fields |= dict.fromkeys(depths, role)
        return self._pattern(fields, name)

    def check(self, layout: Layout, utterances: Sequence[Utterance]) -> None:
        """Compare the labels, which were found by a layout, with what else could be labels.

        Raises:
            InputError: folders and file names contradict each other.
        """
        if not {each.emotion for each in utterances}.intersection(EMOTIONS):
            text = "%s: no folder is named after an emotion; the labels are taken from the folders' names: %s"
            _logger.warning(text, self._root, ", ".join(sorted({each.emotion for each in utterances})))
        if "{emotion}" in layout.parts[:-1]:
            self._check_names(layout, utterances)
        elif clash := own_classes(self._root, [replace(each, speaker=None) for each in utterances]):
            file, folder = clash
            depth = file.path.relative_to(self._root).parts.index(folder)
            self._refuse_clash(file, folder, self._pattern({depth: "emotion"}, "*"), layout)

    def _find_roles(self) -> dict[int, str | None]:
        roles = {depth: role_of(names) for depth, names in enumerate(self._levels) if len(names) > 1}
        if "emotion" not in roles.values():  # there may be one emotion only
            alone = (depth for depth, names in enumerate(self._levels) if role_of(names) == "emotion")
            roles |= dict.fromkeys(alone, "emotion")
        return roles or dict.fromkeys(range(len(self._levels)))

    def _depths(self, role: str | None) -> list[int]:
        return [depth for depth, each in self._roles.items() if each == role]

    def _find_emotion(self) -> tuple[int | None, str]:
        """Return the depth of the folder that is the emotion, if one is, and the pattern of the file's name."""
        depths, name = self._depths("emotion"), "*"
        if not depths:
            name, num_known = self._find_name()
            if num_known == len(self._audio):
                return None, name
            if 2 * num_known > len(self._audio):
                self._refuse_unclear([], name)
            depths, name = self._depths(None), "*"  # classes of the user's own
        if len(depths) != 1:
            self._refuse_unclear(depths, name)
        return depths[0], name

    def _find_name(self) -> tuple[str, int]:
        """Return the pattern by which most file names hold a known emotion, and how many do."""
        patterns = [each for mark in "_- " for each in (f"*{mark}{{emotion}}", f"{{emotion}}{mark}*")]
        sample = self._audio[:: len(self._audio) // _SAMPLE + 1]  # so that large datasets are searched quickly
        best = max(patterns, key=lambda name: len(sample) - _emotions_in(sample, name).count(None))
        return best, len(self._audio) - _emotions_in(self._audio, best).count(None)

    def _unnamed_speakers(self, fields: dict[int, str]) -> list[int]:
        """Return levels whose names say nothing, but a folder for each file is no speaker."""
        sizes = {depth: len(self._levels[depth]) for depth in self._depths(None) if depth not in fields}
        return [depth for depth, size in sizes.items() if 1 < size < len(self._audio)]

    def _is_everywhere(self, depth: int, emotion: int | None) -> bool:
        """Whether every file that has the emotion's folder has a folder of this level too."""
        least = 0 if emotion is None else emotion + 1
        return all(len(folders) > depth for folders in self._folders if len(folders) >= least)

    def _pattern(self, fields: dict[int, str], name: str) -> Layout:
        depths = range(len(self._levels) if name.startswith("{") else max(fields, default=-1) + 1)
        return Layout("/".join([*(f"{{{fields[depth]}}}" if depth in fields else "*" for depth in depths), name]))

    def _check_names(self, layout: Layout, utterances: Sequence[Utterance]) -> None:
        name, num_known = self._find_name()
        if num_known < len(self._audio):
            return
        emotions = dict(zip(self._audio, _emotions_in(self._audio, name), strict=True))
        for each in utterances:
            file = each.path.relative_to(self._root).as_posix()
            if emotions[file] != each.emotion:
                self._refuse_clash(each, layout.read(file)["emotion"], layout, self._pattern({}, name))

    def _refuse_clash(self, file: Utterance, folder: str, by_folder: Layout, by_name: Layout) -> NoReturn:
        raise InputError(
            f"{file.path}: the folder {folder!r} and the file's name say different things; choose "
            f"`layout='{by_folder.pattern}'` for the folder, or `layout='{by_name.pattern}'` for the name"
        )

    def _refuse_unclear(self, depths: Sequence[int], name: str) -> NoReturn:
        """Name the levels, and the layouts that could be meant.

        Args:
            depths: of the folders that may be the emotion; all where there are none.
            name: the pattern of the file's name.
        """
        if not self._levels and name == "*":
            raise InputError(
                f"{self._root}: {len(self._audio)} audio files whose names tell no emotion (first: {self._audio[0]}); "
                "put each emotion's files in a folder of its name, or say where the names hold it, as in "
                "`layout='*_{emotion}_*'`, or write manifest.csv with the columns path and emotion, or keep "
                f"the file names of a published corpus ({', '.join(CORPORA_BY_NAME)})"
            )
        seen = [f"{ordinal(depth)} folder: {few(names)}" for depth, names in enumerate(self._levels)]
        seen = "; ".join([*seen, f"first file: {self._audio[0]}"])
        raise InputError(
            f"{self._root}: it is not clear what is the emotion and what the speaker ({seen}); say it with "
            f"a layout, such as {self._proposals(depths, name)}, or write manifest.csv with the columns path, emotion "
            "and speaker"
        )

    def _proposals(self, depths: Sequence[int], name: str) -> str:
        if name != "*":
            return f"`layout='{self._pattern({}, name).pattern}'`"
        others = {each: role for each, role in self._roles.items() if role in ("split", "gender")}
        layouts = []
        for depth in depths or range(len(self._levels)):
            speakers = self._depths("speaker") or self._unnamed_speakers({depth: "emotion"})
            nobody = [depth] if len(depths) == 1 or not speakers else []
            fields = ({**others, speaker: "speaker", depth: "emotion"} for speaker in (*speakers, *nobody))
            layouts += (f"`layout='{self._pattern(each, '*').pattern}'`" for each in fields)
        return " or ".join(layouts)

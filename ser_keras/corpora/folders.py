"""Labels from the names of folders and files, by a given layout or by the only one that fits."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ser_keras.corpora.consistency import contradicting_folder
from ser_keras.corpora.layout import GENDER_OF, Layout, few, known_emotion, ordinal, role_of, splits_of
from ser_keras.corpora.naming import CORPORA_BY_NAME
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
        layout: The meaning of the path's parts; None to find it.

    Returns:
        The recordings, with those that do not match as skipped, and a description of the layout.

    Raises:
        InputError: The layout is not clear, folders and names contradict each other, or a given layout matches no file.
    """
    tree = None if layout else _Tree(root, audio)
    layout = layout or tree.layout()
    found = {file: fields for file in audio if (fields := layout.read(file)) is not None}
    if not found:
        raise InputError(
            f"{root}: no file matches the layout {layout.pattern!r} (first: {audio[0]}); give a pattern of the "
            "whole path, in which * stands for the rest, such as '{speaker}/{emotion}/*'"
        )
    splits = splits_of(dict.fromkeys(fields["split"] for fields in found.values() if "split" in fields))
    utterances = tuple(_utterance(root / file, fields, splits) for file, fields in found.items())
    if tree:
        tree.check(layout, utterances)
    reason = f"not in a folder that matches the layout {layout.pattern}"
    skipped = tuple((root / file, reason) for file in audio if file not in found)
    return join_scans([CorpusScan(utterances, skipped)]), layout.describe(list(found.values()), splits)


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
    """Return for each file the known emotion in its name, by a pattern of the name."""
    read = Layout(name).read
    return [known_emotion((read(file.rpartition("/")[2]) or {}).get("emotion", "")) for file in files]


class _Tree:
    """The folders of a dataset, level by level, and the role of each level (`role_of`).

    Only levels that half of the files have count. A level with a single name has no role.
    """

    def __init__(self, root: Path, audio: list[str]):
        self._root = root
        self._audio = audio
        self._folders = [file.split("/")[:-1] for file in audio]
        inside = [folders for folders in self._folders if folders]
        self._levels = [
            {folders[depth] for folders in inside if len(folders) > depth}
            for depth in range(max(map(len, inside), default=0))
            if 2 * sum(len(folders) > depth for folders in inside) >= len(inside)
        ]
        self._roles = self._find_roles()

    def layout(self) -> Layout:
        """Return the only layout that fits.

        Raises:
            InputError: There are several, or none.
        """
        depth, name = self._find_emotion()
        fields = {} if depth is None else {depth: "emotion"}
        if self._depths("mixed"):
            self._refuse_unclear(list(fields), name)
        for role in ("speaker", "split", "gender"):
            depths = self._depths(role) or ([] if role != "speaker" else self._unnamed_speakers(fields))
            if len(depths) > 1 or not all(self._is_everywhere(each, depth) for each in depths):
                self._refuse_unclear([] if depth is None else [depth], name)
            fields |= dict.fromkeys(depths, role)
        return self._pattern(fields, name)

    def check(self, layout: Layout, utterances: Sequence[Utterance]) -> None:
        """Compare the labels of a layout with the other names in the paths.

        Raises:
            InputError: Folders and file names contradict each other.
        """
        if not {each.emotion for each in utterances}.intersection(EMOTIONS):
            text = "%s: no folder is named after an emotion; the labels are taken from the folders' names: %s"
            _logger.warning(text, self._root, ", ".join(sorted({each.emotion for each in utterances})))
        if "{emotion}" in layout.parts[:-1]:
            self._check_names(layout, utterances)
        elif clash := contradicting_folder(self._root, [replace(each, speaker=None) for each in utterances]):
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
        """Return the depth of the emotion's folder, or None, and the pattern of the file's name."""
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
        """Return the pattern that finds a known emotion in most file names, and in how many."""
        patterns = [each for mark in "_- " for each in (f"*{mark}{{emotion}}", f"{{emotion}}{mark}*")]
        sample = self._audio[:: len(self._audio) // _SAMPLE + 1]  # so that large datasets are searched quickly
        best = max(patterns, key=lambda name: len(sample) - _emotions_in(sample, name).count(None))
        return best, len(self._audio) - _emotions_in(self._audio, best).count(None)

    def _unnamed_speakers(self, fields: dict[int, str]) -> list[int]:
        """Return the levels without a role that can be speakers; a folder per file is no speaker."""
        sizes = {depth: len(self._levels[depth]) for depth in self._depths(None) if depth not in fields}
        return [depth for depth, size in sizes.items() if 1 < size < len(self._audio)]

    def _is_everywhere(self, depth: int, emotion: int | None) -> bool:
        """Return whether every file that has the emotion's folder has a folder of this level too."""
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
            f"{file.path}: the folder {folder!r} and the file's name contradict each other; choose "
            f"`layout='{by_folder.pattern}'` for the folder, or `layout='{by_name.pattern}'` for the name"
        )

    def _refuse_unclear(self, depths: Sequence[int], name: str) -> NoReturn:
        """Raise an error that names the levels and the possible layouts.

        Args:
            depths: Levels that may be the emotion; empty for all.
            name: The pattern of the file's name.
        """
        if not self._levels and name == "*":
            raise InputError(
                f"{self._root}: {len(self._audio)} audio files whose names contain no emotion (first: "
                f"{self._audio[0]}); put each emotion's files in a folder of its name, or give their place in the "
                "names, as in `layout='*_{emotion}_*'`, or write manifest.csv with the columns path and emotion, or "
                f"keep the file names of a published corpus ({', '.join(CORPORA_BY_NAME)})"
            )
        seen = [f"{ordinal(depth)} folder: {few(names)}" for depth, names in enumerate(self._levels)]
        seen = "; ".join([*seen, f"first file: {self._audio[0]}"])
        raise InputError(
            f"{self._root}: it is not clear which folder is the emotion and which the speaker ({seen}); give "
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

"""The lines of the table: what is aimed at, what was measured, whether it is enough."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What a line's figure is made of, and which way is good."""

    unit: str
    scale: float = 1.0
    is_quotient: bool = True
    less_is_better: bool = False

    def figure(self, ours: float, theirs: float | None) -> float:
        if not self.is_quotient or theirs is None:
            return ours * self.scale
        return self.scale * (ours / theirs if self.less_is_better else theirs / ours)


KINDS = {
    "speed": Kind("x"),  # their time by ours
    "share": Kind("%", 100.0),  # the same, where theirs is the limit
    "growth": Kind("x", less_is_better=True),  # ours by theirs, which should be no more
    "seconds": Kind("s", is_quotient=False, less_is_better=True),
    "milliseconds": Kind("ms", 1e3, is_quotient=False, less_is_better=True),
}


@dataclass(frozen=True)
class Target:
    """One line of a row, before it is measured.

    Attributes:
        what: what is measured.
        kind: a name of `KINDS`.
        must: what the figure has to reach; None where it is told for orientation.
        aim: what would be good.
    """

    what: str
    kind: str = "speed"
    must: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Measured:
    """What one line gave: two medians, in seconds (or megabytes, where `unit` is MB).

    Attributes:
        ours: this package.
        theirs: what it is compared with.
        against: what that is.
        unit: of both.
        note: circumstances.
    """

    ours: float
    theirs: float | None = None
    against: str = ""
    unit: str = "s"
    note: str = ""


HEADER = ("What", "Cores", "Ours", "Figure", "Must", "Aim", "", "Against")
WIDTHS = (40, 5, 8, 8, 7, 7, 6, 0)


def as_text(cells: Sequence[object]) -> str:
    return "  ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def cells(line: dict[str, Any]) -> list[str]:
    """Return a line of the results as the cells of the table."""
    kind = KINDS[line["kind"]]
    targets = [_target(line[name], kind) for name in ("must", "aim")]
    if "reason" in line:
        return [line["what"], line["cores"], "-", "-", *targets, "", f"not measured: {line['reason']}"]
    ours, theirs = (_amount(line[name], line["unit"]) for name in ("ours", "theirs"))
    against = ": ".join(part for part in (line["against"], theirs) if part)
    against = "; ".join(part for part in (against, line["note"]) if part)
    return [line["what"], line["cores"], ours, f"{line['figure']:.3g} {kind.unit}", *targets, line["verdict"], against]


def result(target: Target, measured: Measured | None, *, cores: int, reason: str = "") -> dict[str, Any]:
    """Return a line for results.json."""
    line = {**asdict(target), "cores": cores}
    if measured is None:
        return {**line, "reason": reason}
    figure = KINDS[target.kind].figure(measured.ours, measured.theirs)
    return {**line, **asdict(measured), "figure": figure, "verdict": _verdict(target, figure)}


def _verdict(target: Target, figure: float) -> str:
    sign = -1 if KINDS[target.kind].less_is_better else 1
    if target.must is not None and sign * figure < sign * target.must:
        return "MISSED"
    return "aim" if target.aim is not None and sign * figure >= sign * target.aim else ""


def _target(value: float | None, kind: Kind) -> str:
    if value is None:
        return "-"
    return f"{'<' if kind.less_is_better else ''}{value:g} {kind.unit}"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit != "s":
        return f"{value:.0f} {unit}"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"

"""Figures as inline SVG, in the colours of the page that holds them."""

import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

_THEME = {"#000000": "currentColor", "#1f77b4": "var(--accent)", "#ff7f0e": "var(--warm)", "#999999": "var(--muted)"}
"""What matplotlib's colours are on the page, which is light or dark as the reader's system is."""


def figure_to_svg(figure: Figure, label: str, *, salt: str = "") -> Markup:
    """Return a figure as inline SVG in the colours of the page.

    Args:
        figure: its texts are escaped.
        label: what a screen reader says instead.
        salt: other than that of any other figure of its kind on the page, so that no two ids are alike.

    Example:
        >>> figure_to_svg(Figure(), "Nothing to see")[:44]
        Markup('<svg role="img" aria-label="Nothing to see" ')
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label + salt, "savefig.dpi": 110}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    drawing = file.getvalue().partition("<svg ")[2]
    drawing = re.sub(r'\b(width|height)="[\d.]+pt"', "", drawing, count=2)  # the page decides
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # nothing refers to them, and each figure has the same
    for color, variable in _THEME.items():
        drawing = drawing.replace(color, variable)
    return Markup('<svg role="img" aria-label="{}" ').format(label) + Markup(drawing)

"""Colours and dashes of lines that stand for whatever a page compares: studies, samplers, ratios."""

LIGHT = ("#0072B2", "#B0538A", "#009E73", "#8A6D00", "#5B636C", "#7A5BC4")
DARK = ("#56B4E9", "#E39BC4", "#2FC79B", "#F0E442", "#9DA6B0", "#B5A1F0")
STYLES = (("solid", "━"), ("dash", "╍"), ("dot", "┅"), ("dashdot", "─·"), ("longdash", "━ ━"), ("longdashdot", "━ ·"))
"""Of each line, for plotly and for a legend."""


def role(place: int) -> str:
    """The CSS variable of the colour of line number ``place``."""
    return f"line{place % len(LIGHT)}"

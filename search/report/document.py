"""The frame of every page: one file that opens offline, runs only its own scripts and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from search.report.markup import Html, element
from search.report.script import SCRIPT
from search.report.style import style_sheet


def document(
    *body: Html | None, title: str, light: Mapping[str, str], dark: Mapping[str, str], style: str = "", runs: bool
) -> str:
    """The page around ``body``, with plotly's script and ours inside where it ``runs``.

    Args:
        light, dark: Role -> colour.
        style: Rules beside those that all pages have.
    """
    return "<!doctype html>\n" + element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy()),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("link", rel="icon", href="data:,"),
            element("title", f"{title} - Slimfront"),
            Html(f"<style>{style_sheet(light, dark)}{style}</style>"),
        ),
        element(
            "body",
            element("main", *body, Html(f"<script>{_plotly()}</script><script>{SCRIPT}</script>") if runs else None),
        ),
        lang="en",
        # Without a script nothing is drawn first, and nobody would say later that all rows may be shown.
        data_opened=None if runs else "true",
    )


@cache
def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


@cache
def _policy() -> str:
    """Only these scripts run and nothing is fetched: a second wall behind the escaping."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (_plotly(), SCRIPT)
    )
    allowed = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    return f"{allowed}; base-uri 'none'; form-action 'none'"

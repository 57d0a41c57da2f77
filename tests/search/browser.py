"""For tests: a page as its elements, and as a real browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
_DRIVER = """
  const wait = () => new Promise((done) => setTimeout(done, 50));
  const report = (name, said) => document.body.dataset[name] = said;
  (async () => {
    while (!document.documentElement.dataset.drawn) await wait();
    %s
  })();
"""


class Elements(HTMLParser):
    """Start tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._raw = [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else self._raw

    def handle_endtag(self, tag):
        self._raw = None if tag == self._raw else self._raw

    def handle_data(self, data):
        self.text += "" if self._raw else data

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def browse(path, tmp_path):
    """The page's elements after its scripts ran, and what it wrote to the console."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [CHROMIUM, *flags.split(), "--disable-component-update", "--disable-sync", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def drive(text, script, tmp_path):
    """The body's ``data-`` attributes once ``script`` was run on the drawn page, in which ``report(name, text)`` sets
    them, and what was written to the console."""
    # The page's own policy would not let this script run.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    driven = tmp_path / "driven.html"
    driven.write_text(text.replace("</body>", f"<script>{_DRIVER % script}</script></body>"))
    found, console = browse(driven, tmp_path)
    return Elements(found).named("body")[0], console

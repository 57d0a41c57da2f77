"""How a page looks: pictures of it on a desk and on a phone, light and dark, and as it is printed.

Run ``python -m tests.benchmarks.screens PAGE.html --out FOLDER`` and look at what lies in the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.search.devtools import Browser


def main() -> None:
    """Write the pictures, and say what the page wrote to the console."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for is_dark in (False, True):
        theme = "dark" if is_dark else "light"
        for width in (1440, 390):
            with Browser(width=width, is_dark=is_dark) as browser:
                address = options.page.resolve().as_uri()
                browser.seconds_until("!!document.documentElement?.dataset.drawn", at=address)
                browser.screenshot(options.out / f"{width}-{theme}.png")
                if width == 1440:
                    browser.pdf(options.out / f"{theme}.pdf")
                print(f"{width} pixels, {theme}: {browser.complaints or 'no console message'}")


if __name__ == "__main__":
    main()

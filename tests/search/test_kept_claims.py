"""What the pages of the kept studies say of the claims is what the rule gives from the kept results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.comparison.file import Comparison
from search.comparison.verdict import Result, verdict

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "studies").glob("*/claims.yaml"))


def measured(folder: Path, comparison: Comparison) -> list[Result]:
    """Also where stages have options since that would give other keys: what is written of them is what was measured."""
    found = [Result(**json.loads(line)) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [result for result in found if result.recipe in comparison.recipes and result.seed < comparison.seeds]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_page_says_of_each_claim_what_its_results_say(folder: Path) -> None:
    # Where seeds were added to some of the recipes only, the later file has the last word.
    found: dict[str, str] = {}
    for file in (folder / "claims.yaml", folder / "more_seeds.yaml"):
        if file.is_file():
            comparison = Comparison.read(file)
            results = measured(folder, comparison)
            assert len(results) == comparison.seeds * len(comparison.recipes)
            found |= {claim.claim: verdict(comparison, claim, results).kind for claim in comparison.claims}
    page = (folder / "README.md").read_text()
    table = page[page.index("\n| claim |") :].split("\n\n")[0].strip().splitlines()[2:]
    assert [row.split(" | ")[-1].split()[0].strip(",:") for row in table] == list(found.values())


def test_there_are_such_pages() -> None:
    assert len(FOLDERS) > 3

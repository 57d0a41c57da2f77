"""What the pages of the kept studies say of the claims is what the rule gives from the kept results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.comparison.file import Comparison
from search.comparison.verdict import Result, verdict

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "studies").glob("*/claims.yaml"))


def kinds(file: Path, results: Path) -> dict[str, str]:
    """What the rule gives for each claim.

    Also where stages have options since that would give other keys: what is written of them is what was measured.
    """
    comparison = Comparison.read(file)
    found = [Result(**json.loads(line)) for line in results.read_text().splitlines()]
    found = [result for result in found if result.recipe in comparison.recipes and result.seed < comparison.seeds]
    assert len(found) == comparison.seeds * len(comparison.recipes)
    return {claim.claim: verdict(comparison, claim, found).kind for claim in comparison.claims}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_page_says_of_each_claim_what_its_results_say(folder: Path) -> None:
    # Where seeds were added to some of the recipes only, the later file has the last word.
    files = [file for file in (folder / "claims.yaml", folder / "more_seeds.yaml") if file.is_file()]
    found = [{claim: kind for file in files for claim, kind in kinds(file, folder / "results.jsonl").items()}]
    # Further comparisons come after it, each with results of its own.
    others = {results.with_suffix(".yaml"): results for results in sorted(folder.glob("*.jsonl"))}
    found += [kinds(file, results) for file, results in others.items() if file.is_file()]
    _, *tables = (folder / "README.md").read_text().split("\n| claim |")
    assert len(tables) == len(found)
    for table, expected in zip(tables, found, strict=True):
        rows = table.split("\n\n")[0].strip().splitlines()[2:]
        assert [row.split(" | ")[-1].split()[0].strip(",:") for row in rows] == list(expected.values())


def test_there_are_such_pages() -> None:
    assert len(FOLDERS) > 3

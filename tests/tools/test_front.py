"""The front door: one short page with a picture, two commands and the honest result; no link leads nowhere."""

import json
import re

import pandas as pd
import pytest
from PIL import Image

from spider_utils.data.sources import find_series, fingerprint
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.present.slides import SLIDES
from tools.figures import HERO
from tools.front import INDEX, RESULTS, TOLD, index_block, one_of, result_block, sequence_table
from tools.headline import card
from tools.links import dead_links, headings, pages
from tools.notebooks import FOLDER, README, ROOT, readme_table, repository_address

TEXT = README.read_text(encoding="utf-8")
WORDS = 1200
FIRST_WORDS = 520  # of picture, commands and result: what the first screen holds


def lines_of_the_table() -> list[list[str]]:
    block = TEXT.split("<!-- result: begin -->")[1].split("<!-- result: end -->")[0]
    lines = [line for line in block.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_readme_is_short():
    assert len(TEXT.split()) <= WORDS


def test_picture_commands_and_result_come_first():
    places = [TEXT.index(word) for word in (f"figures/{HERO}.png", "make run", "make test", "| Dice of |", "## Where")]
    assert places == sorted(places)
    assert len(TEXT[: places[-1]].split()) <= FIRST_WORDS
    assert TEXT.index("Python 3.11 and `make`, nothing else") < places[1]


def test_the_picture_is_small_enough_for_a_page():
    path = ROOT / "figures" / f"{HERO}.png"
    assert path.stat().st_size <= 600_000
    with Image.open(path) as picture:
        assert picture.width >= 1280


def test_the_table_is_that_of_the_results():
    assert result_block() in TEXT
    assert sequence_table() in TEXT.split("<!-- sequences: begin -->")[1]
    assert index_block() in INDEX.read_text(encoding="utf-8")


def test_every_score_of_the_table_stands_in_results():
    """Read once more, by other code."""
    rows = lines_of_the_table()
    assert len(rows) == 7
    for title, *values, _, made in rows:
        if title.startswith("the paper ("):
            theirs = PAPER_TABLE[PAPER_TABLE["sequence"] == "T2_SPACE"].set_index("class")["dice"]
            expected = [theirs[name] for name in ("vertebrae", "canal", "discs")]
            assert [float(value) for value in values] == pytest.approx([*expected, sum(expected) / 3], abs=5e-5)
            continue
        name = re.search(r"results/(\w+)/README", made)[1]
        tables = [
            pd.read_csv(RESULTS / name / f"{file}.csv")
            for file in ("dice", "copying")
            if (RESULTS / name / f"{file}.csv").is_file()
        ]
        found = pd.concat(tables).query("aggregation == 'pooled'").round(3)
        for column, value in zip(("vertebrae", "canal", "discs", "foreground"), values, strict=True):
            value, *interval = (float(number) for number in re.findall(r"\d\.\d+", value))
            own = found[(found["class"] == column) & (found["value"] == value)]
            assert len(own), (title, column)
            if interval:
                assert interval in own[["ci_low", "ci_high"]].to_numpy().tolist()


def test_the_card_tells_every_headline_dice_with_what_it_was_made_with():
    """Values read once more: the card's rows from the studies' own pages, which other code writes."""
    table = pd.read_csv(RESULTS / "headline.csv")
    text = INDEX.read_text(encoding="utf-8")
    assert card(table) in text
    own = table[table["folder"].notna()]
    assert own[["name", "network", "patients", "slices", "split", "command"]].notna().all().all()
    trained = own[own["network"] != "none"]
    assert trained[["size", "epochs", "seed"]].notna().all().all()
    own_width = trained.loc[trained["width"].isna(), "name"].tolist()
    assert own_width == ["nnU-Net v2, 2D, the paper's size", "nnU-Net v2, 2D"]
    for row in own.itertuples():
        page = (RESULTS / row.folder / "README.md").read_text(encoding="utf-8")
        page += (RESULTS / row.folder / "copying.csv").read_text() if row.network == "none" else ""
        told = f"{row.mean:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"
        assert told in page or str(row.mean) in page, row.name
        assert row.command == (RESULTS / row.folder / "command.txt").read_text(encoding="utf-8").strip()
    leaky = own["split"].str.contains("LEAKY")
    assert leaky.tolist() == sorted(leaky), "honest lines first"


def test_honest_lines_stand_before_leaky_ones_and_the_paper_last():
    titles = [row[0] for row in lines_of_the_table()]
    leaky = ["LEAKY" in title for title in titles[:-1]]
    assert leaky == sorted(leaky) and any(leaky) and not all(leaky)
    assert all(("unseen" in title) != ("LEAKY" in title) for title in titles[:-1])
    assert titles[-1].startswith("the paper") and lines_of_the_table()[-1][-1] == "split not stated"


def test_command_seed_split_data_and_device_stand_beside_the_result():
    made = json.loads((RESULTS / "errors" / "study.json").read_text(encoding="utf-8"))
    for word in (
        made["data"]["fingerprint"][:12],
        "622 T2 SPACE slices of 30 patients",
        "3 folds",
        "seed 0 (full_size: seeds 0, 1, 2)",
        "full_size, peers_full_size, paper_claim on NVIDIA H200",
        "errors on x86_64",
    ):
        assert word in TEXT
    assert (RESULTS / "paper_claim" / "command.txt").read_text(encoding="utf-8").strip() in TEXT
    for study in TOLD:
        assert f"](results/{study}/README.md)" in TEXT


def test_both_fingerprints_are_those_of_the_released_slices(shared_data):
    found = list(find_series("released", shared_data / "released_t2_space"))
    told = f"`{fingerprint(found)[:12]}` and, in older studies, `{fingerprint(found, former=True)[:12]}` are"
    assert told in INDEX.read_text(encoding="utf-8")


def test_studies_that_differ_are_not_told_as_one():
    assert one_of([3, 3]) == 3
    with pytest.raises(ValueError):
        one_of([3, 5])


def test_nothing_says_more_about_the_paper_than_was_measured():
    """One tone about 0.97, on every page, slide and notebook."""
    pages = [README, *RESULTS.glob("*.md"), *(ROOT / "docs").glob("*.md"), *FOLDER.glob("*.py"), SLIDES]
    told = {str(page.relative_to(ROOT)): " ".join(page.read_text(encoding="utf-8").split()) for page in pages}
    assert "Under a random split a copied mask scores 0.963" in told["README.md"]
    for name, text in told.items():
        for words in ("0.97 belongs", "most likely", "cheat", "number comes from a random split"):
            assert words not in text, name


def test_the_readme_lists_the_notebooks():
    table = readme_table(FOLDER, repository_address())
    assert table in TEXT
    assert table.count(".ipynb)") >= 7


@pytest.mark.parametrize("folder", sorted(path.name for path in RESULTS.iterdir() if path.is_dir()))
def test_every_result_is_in_the_list(folder):
    text = INDEX.read_text(encoding="utf-8")
    assert f"[{folder}]({folder}/README.md)" in text.split("<!-- studies: end -->")[0]


def test_the_sequences_scores_are_those_of_their_study():
    """Read once more, by other code: pooled, the mean of vertebrae, canal and discs."""
    table = pd.read_csv(RESULTS / "all_sequences" / "by_sequence.csv").query("aggregation == 'pooled'")
    block = TEXT.split("<!-- sequences: begin -->")[1].split("<!-- sequences: end -->")[0]
    for sequence, position in (("T1", "all slices"), ("T2", "canal visible"), ("T2_SPACE", "all slices")):
        own = table[(table["sequence"] == sequence) & (table["position"] == position)].set_index("class")["value"]
        mean = own[["vertebrae", "canal", "discs"]].mean()
        line = next(
            line for line in block.splitlines() if line.startswith(f"| {sequence.replace('_', ' ')}, {position}")
        )
        assert f" {mean:.3f} [" in line and f" {own['discs']:.3f} " in line


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_of_a_page_is_dead(page):
    assert dead_links(page) == []


def test_the_pages_looked_at_are_all_there_are():
    looked = {str(page.relative_to(ROOT)) for page in pages()}
    assert looked >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/usage.md", "results/README.md"}
    assert {"results/claims.md", "results/errors/README.md", "figures/README.md"} <= looked


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# A title, `code` & more\n\n```\n# no heading\n```\n")
    assert headings(tmp_path / "other.md") == {"a-title-code--more"}
    page.write_text(
        "# Here\n[a](other.md#a-title-code--more) [b](#here) [c](https://x.org/y) `[d](gone.md)`\n"
        "[e](gone.md) ![f](gone.png) [g](other.md#gone) [h](#gone)\n```\n[i](gone.md)\n```\n"
    )
    assert [line.split(": ")[1] for line in dead_links(page)] == ["gone.md", "gone.png", "other.md#gone", "#gone"]

"""What is published: results/ states what the runs' own files hold, and nothing of the machine."""

import re

import pandas as pd
import pytest

from spider_utils.evaluate.paper import PAPER_TABLE
from tools.figures import RUN_CAPTIONS, gallery
from tools.markdown import markdown_table, with_block
from tools.notebooks import ROOT
from tools.pages import PAGES, describe_study
from tools.publish import LINK, command, describe, from_results, run_page, score_rows
from tools.studies import PHANTOM, QUESTIONS, is_study, published_figures, read_settings, study_command, study_page

PUBLISHED = sorted(path.parent for path in (ROOT / "results").glob("*/command.txt"))
STUDIES = [folder for folder in PUBLISHED if is_study(folder)]
RUNS = [folder for folder in PUBLISHED if folder not in STUDIES]
LEAKY = ("paper_claim", "leakage", "leakage_strong")


def test_something_is_published():
    assert RUNS
    assert {folder.name for folder in STUDIES} == set(PAGES) == set(QUESTIONS)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_studys_page_states_what_its_files_hold(folder):
    text = describe_study(folder)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert text in page and page == study_page(folder)
    assert study_command(folder) == (folder / "command.txt").read_text(encoding="utf-8").strip()
    assert study_command(folder) in text
    for path in folder.iterdir():
        assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_numbers_of_phantoms_say_so(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert (PHANTOM in text) == (read_settings(folder)["source"] == "phantom")
    if PHANTOM in text:
        assert text.index(PHANTOM) < text.index("| ")


@pytest.mark.parametrize("name", LEAKY)
def test_the_leakage_pages_state_the_honest_number_before_the_leaky_one(name):
    leakage = describe_study(ROOT / "results" / name)
    lines = [line for line in leakage.splitlines() if line.startswith("| ")]
    first_leaky = next(number for number, line in enumerate(lines) if "LEAKY" in line)
    honest = [number for number, line in enumerate(lines) if line.startswith("| unseen patients")]
    assert honest and max(honest) < first_leaky


@pytest.mark.parametrize("name", LEAKY)
def test_every_line_of_the_leakage_pages_is_in_their_tables(name):
    folder = ROOT / "results" / name
    dice = pd.read_csv(folder / "dice.csv").query("epoch == epoch.max() and aggregation == 'pooled'")
    text = describe_study(folder)
    for row in dice[dice["class"] == "foreground"].itertuples():
        assert f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]" in text


def test_a_markdown_table_by_hand():
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_figures_of_studies_are_published_with_them():
    assert "leakage" in published_figures(ROOT / "results" / "leakage")
    assert "arms" in published_figures(ROOT / "results" / "choices")


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_runs_page_states_what_its_files_hold(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert describe(folder) in page and page == run_page(folder)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_every_score_of_a_runs_page_is_a_row_of_metrics(folder):
    metrics = pd.read_csv(folder / "metrics.csv")
    pooled = metrics[
        (metrics["split"] == "test") & (metrics["aggregation"] == "pooled") & (metrics["sequence"] == "all")
    ]
    page = (folder / "README.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if re.match(r"\| (vert|can|disc|fore)", line)]
    assert len(lines) == 4
    for line in lines:
        name, first, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        value, low, high = (float(number) for number in re.findall(r"\d+\.\d+", first))
        row = pooled[(pooled["class"] == name) & (pooled["metric"] == "dice")].iloc[0]
        assert (value, low, high) == pytest.approx((row["value"], row["ci_low"], row["ci_high"]), abs=5e-4)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_published_run_has_its_notebooks_and_figures_and_no_path_of_a_machine(folder):
    assert {path.name[:2] for path in folder.glob("[0-9][0-9]_*.ipynb")} >= {"01", "02", "03", "04", "05", "06"}
    assert all((ROOT / "figures" / f"{folder.name}_{figure}.png").is_file() for figure in RUN_CAPTIONS)
    for path in folder.iterdir():
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), path


def test_the_gallery_shows_every_published_figure():
    text = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    assert text == gallery()
    assert all(picture.name in text for picture in (ROOT / "figures").glob("*.png"))


def test_the_papers_dice_stands_in_the_table_as_published(tmp_path):
    rows = [
        {"split": "test", "sequence": "all", "aggregation": "pooled", "class": name, "metric": metric, "unit": unit}
        | {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        for name in ("vertebrae", "canal", "discs", "foreground")
        for metric, unit in {
            "dice": "ratio",
            "iou": "ratio",
            "hd95": "px",
            "asd": "px",
            "nsd_1": "px",
            "nsd_2": "px",
        }.items()
    ]
    lines = score_rows(pd.DataFrame(rows))
    assert "HD95 (px)" in lines[0] and "NSD at 2 px" in lines[0]
    assert lines[4].startswith("| discs | 0.500 [0.400, 0.600]") and lines[4].endswith("0.9688 |")
    foreground = PAPER_TABLE.query("sequence == 'T2_SPACE' and `class` != 'background'")["dice"].mean()
    assert f"{foreground:.4f} (mean)" in lines[5]


def test_the_command_names_what_was_set_by_hand():
    settings = {"source": "released", "data_dir": "data/x", "profile": "cpu", "overrides": {"fold": 2}}
    expected = "python -m spider_utils run --source released --data-dir data/x --profile cpu --out runs/y -p fold 2"
    assert command(settings, "runs/y") == expected


def test_a_block_is_replaced_between_its_markers_only():
    text = "a <!-- x: begin -->old<!-- x: end --> b"
    assert with_block(text, "x", "new") == "a <!-- x: begin -->\nnew\n<!-- x: end --> b"
    with pytest.raises(ValueError):
        with_block("no markers", "x", "new")


def test_links_of_a_published_notebook_lead_to_the_same_places():
    told = "[a](../docs/glossary.md#dice), [b](05_evaluate.ipynb), [c](08_volumes.ipynb), [d](https://a.org/b.ipynb)"
    assert LINK.sub(from_results, told) == (
        "[a](../../docs/glossary.md#dice), [b](05_evaluate.ipynb), [c](../../notebooks/08_volumes.ipynb), "
        "[d](https://a.org/b.ipynb)"
    )

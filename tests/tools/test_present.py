"""The presentation: what it says stands in results/, and everything can be read from the back of the room."""

import re
import shutil
import zipfile

import pandas as pd
import pytest
import yaml
from matplotlib import get_data_path
from PIL import ImageFont
from pptx import Presentation
from pptx.util import Emu, Inches, Pt

from spider_utils.common.errors import SpiderError
from spider_utils.present.numbers import (
    DECIMAL,
    REGISTRY,
    RESULTS,
    Number,
    Numbers,
    read_content,
    read_numbers,
    read_registry,
)
from spider_utils.present.powerpoint import SMALLEST_POINTS, TITLE_POINTS, deck_texts, write_deck
from spider_utils.present.slides import FIGURES, SLIDES, read_slides
from tests.helpers.typed_numbers import untraced
from tools.notebooks import README, ROOT
from tools.present import DECK, QUESTIONS, TEMPLATE, questions

WORDS = 40  # beside a figure
TERMS = ("Segmentation", "U-Net", "T2 SPACE", "Dice", "IoU", "Focal loss", "Dice loss", "Leaky ReLU")
TERMS += ("Weight initialisation", "Class imbalance")
ASKED = (
    "Why SPIDER",
    "patients enough",
    "T1, T2 and T2 SPACE",
    "Why 2D",
    "Why a U-Net",
    "Leaky ReLU",
    "Glorot",
    "Focal plus Dice",
)
ASKED += (
    "16 classes",
    "55 %",
    "Is 0.97 good",
    "nnU-Net fair",
    "over-fitting",
    "not reproduced",
    "for the clinic",
    "gamma",
)
PROSE = [README, *(ROOT / "results").glob("*.md"), *(ROOT / "docs").glob("*.md")]
PROSE_TYPED = {  # decimals of the pages' running text that are settings or versions, not results
    "3.11": "Python",
    "0.001": "learning rate",
    "0.002": "learning rate of the profile smoke",
    **dict.fromkeys(("55", "95", "100"), "per cent"),
    "209": "slices of the sample, counted in its test",
    "13": "minutes of the talk, tested above",
    "0.01": "how far copied vertebrae and canals lie below the paper's, tested below",
}
NUMBER_WORDS = {  # whole numbers that may be typed, and why
    *("0", "1", "2", "3", "4", "5", "16", "512", "128", "160"),  # no difference, grades, classes, channels, sizes
    *("55", "16"),  # the paper's
    *("95", "100"),  # per cent
    *("2015", "2021", "2024", "2025", "11", "20", "264", "100635"),  # years and volumes of what is cited
}


@pytest.fixture(scope="module")
def made():
    return read_slides()


@pytest.fixture(scope="module")
def slides(made):
    return made[0]


@pytest.fixture(scope="module")
def path(slides, tmp_path_factory):
    path = tmp_path_factory.mktemp("deck") / "deck.pptx"
    write_deck(slides, path)
    return path


@pytest.fixture(scope="module")
def pages(path):
    return list(Presentation(str(path)).slides)


@pytest.fixture(scope="module")
def numbers():
    return read_numbers()


def box(shape) -> tuple[int, int, int, int]:
    return shape.left, shape.top, shape.left + shape.width, shape.top + shape.height


def texts(page):
    return [shape for shape in page.shapes if shape.has_text_frame and shape.text_frame.text.strip()]


def runs(shape):
    return [run for paragraph in shape.text_frame.paragraphs for run in paragraph.runs]


def test_the_committed_deck_has_12_to_16_slides_before_the_backup(made):
    slides, left_out = made
    backup = [slide.backup for slide in slides]
    assert 12 <= backup.count(False) <= 16
    assert backup == sorted(backup), "a backup slide stands among the others"
    told = {entry["title"] for entry in yaml.safe_load(SLIDES.read_text(encoding="utf-8")) if not entry.get("backup")}
    assert not told & set(left_out)


def test_it_covers_what_a_presenter_has_to_tell(slides):
    told = " ".join(slide.title + slide.notes for slide in slides if not slide.backup)
    for word in ("pain", "SPIDER", "label", "U-Net", "Focal", "Dice", "never met", "neighbouring", "cannot show"):
        assert word in told
    (glossary,) = [slide for slide in slides if slide.title.startswith("Ten terms")]
    assert tuple(heading for heading, _ in glossary.cards) == TERMS
    assert all(sentence.count(".") == 1 for _, sentence in glossary.cards), "one sentence a term"


def test_every_slide_has_its_message_and_its_notes(slides, pages):
    assert len(pages) == len(slides)
    for slide, page in zip(slides, pages, strict=True):
        assert page.shapes.title.text_frame.text == slide.title
        assert len(slide.title.split()) >= 4, "a title is a sentence"
        assert slide.notes in page.notes_slide.notes_text_frame.text
        assert 30 <= len(slide.notes.split()) or slide.backup, slide.title
        words = " ".join([*slide.lines, *(text for pair in slide.big for text in pair)]).split()
        assert len(words) <= WORDS, slide.title


def test_the_talk_takes_13_minutes_and_its_short_version_one(slides):
    main = [slide for slide in slides if not slide.backup]
    assert all(slide.seconds for slide in main) and not any(slide.seconds for slide in slides if slide.backup)
    assert sum(slide.seconds for slide in main) == 13 * 60
    for slide in main:
        assert 80 <= 60 * len(slide.notes.split()) / slide.seconds <= 165, (slide.title, "words a minute")
    words = sum(len(slide.short.split()) for slide in slides)
    assert 120 <= words <= 160, words


def test_times_and_the_short_version_stand_in_the_notes(slides, pages):
    for slide, page in zip(slides, pages, strict=True):
        notes = page.notes_slide.notes_text_frame.text
        assert notes.startswith(f"[{slide.seconds} seconds]") == (not slide.backup)
        assert (slide.short in notes) and ("60-second" in notes) == bool(slide.short)


def test_the_last_slide_before_the_backup_is_what_to_take_home(slides):
    last = [slide for slide in slides if not slide.backup][-1]
    assert len(last.cards) <= 4 and "take home" in last.notes


def test_it_is_16_to_9_and_nothing_leaves_the_slide(path, pages):
    deck = Presentation(str(path))
    assert deck.slide_width / deck.slide_height == pytest.approx(16 / 9, abs=1e-3)
    for page in pages:
        for shape in page.shapes:
            left, top, right, bottom = box(shape)
            assert min(left, top) >= 0 and right <= deck.slide_width and bottom <= deck.slide_height


def test_text_is_large_enough(pages):
    for page in pages:
        for shape in texts(page):
            assert all(run.font.size >= Pt(SMALLEST_POINTS) for run in runs(shape)), shape.text_frame.text
        assert all(run.font.size >= Pt(TITLE_POINTS) for run in runs(page.shapes.title))
    assert SMALLEST_POINTS >= 18 and TITLE_POINTS >= 28


def test_text_and_pictures_do_not_cover_each_other(pages):
    for page in pages:
        shown = [shape for shape in page.shapes if shape.shape_type == 13 or shape in texts(page)]
        for number, one in enumerate(shown):
            for other in shown[number + 1 :]:
                a, b = box(one), box(other)
                apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
                assert apart, (page.shapes.title.text_frame.text, one.name, other.name)


def test_text_fits_its_box_in_a_wide_font(pages):
    """DejaVu Sans is wider than Arial, so what fits in it fits anywhere."""
    for page in pages:
        for shape in texts(page):
            frame = shape.text_frame
            width = shape.width - frame.margin_left - frame.margin_right
            height = 0.0
            for paragraph in frame.paragraphs:
                size = max((run.font.size.pt for run in paragraph.runs), default=SMALLEST_POINTS)
                bold = any(run.font.bold for run in paragraph.runs)
                height += 1.2 * size * lines_needed(paragraph.text, size, bold, Emu(width).pt)
                height += paragraph.space_after.pt if paragraph.space_after else 0
            assert height <= Emu(shape.height).pt + 12, (frame.text, height)


def lines_needed(text: str, size: float, bold: bool, width: float) -> int:
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", 100)
    lines, line = 1, ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) * size / 100 > width:
            lines, line = lines + 1, word
        else:
            line = longer
    return lines


def test_figures_are_sharp_and_are_told_to_those_who_cannot_see_them(pages):
    for page in pages:
        for shape in page.shapes:
            if shape.shape_type == 13:
                across = shape.image.size[0] / (shape.width / Inches(1))
                assert across >= 150, f"{shape.name}: {across:.0f} pixels an inch"
                assert shape._element.nvPicPr.cNvPr.get("descr") == page.shapes.title.text_frame.text


def test_every_number_of_the_deck_is_a_result(path, numbers):
    for text in deck_texts(path):
        assert numbers.strange(text) == [], text
    assert sum(len(DECIMAL.findall(text)) for text in deck_texts(path)) > 60


def test_no_number_is_typed_in_slides_or_answers(numbers):
    """What is left of the templates without the numbers' places holds no number but names and the few typed ones."""
    for template in (SLIDES, TEMPLATE):
        text = re.sub(r"\{\w+\}|10\.\d{4}/\S+", "", template.read_text(encoding="utf-8"))
        assert set(DECIMAL.findall(text)) <= numbers.typed
        rest = DECIMAL.sub("", re.sub(r"[A-Za-z]\w*\d\w*|figures?: \S+|(?:columns|seconds): \d+", "", text))
        assert set(re.findall(r"\d+", rest)) <= NUMBER_WORDS, template.name


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("unseen_interval", "paper_claim"), ("leaky_interval", "paper_claim"), ("leak_gain_interval", "paper_claim"),
        ("full_interval", "full_size"), ("full_gain_interval", "full_size"), ("averaged_full_interval", "full_size"),
        ("averaged_interval", "full_size"), ("nnunet_interval", "peers"), ("over_nnunet_interval", "peers"),
        ("nnunet_full_interval", "peers_full_size"), ("full_over_nnunet_interval", "peers_full_size"),
        ("longer_over_nnunet_interval", "peers_longer"), ("size_gain_interval", "size"),
        ("run_foreground_interval", "released_cpu"), ("run_discs_interval", "released_cpu"),
        ("ours_gain_interval", "errors"), ("ours_interval", "errors"), ("paper_net_interval", "errors"),
        ("ce_dice_interval", "ablation"), ("neighbours_interval", "ablation"), ("relu_interval", "choices"),
        ("long_light_interval", "length"), ("long_attention_interval", "length"),
        ("he_interval", "choices"), ("focal_alone_interval", "choices"),
    ],
)  # fmt: skip
def test_intervals_are_those_of_the_published_pages(numbers, name, page):
    """The pages are written by other code, from the same tables."""
    assert numbers.texts[name] in (RESULTS / page / "README.md").read_text(encoding="utf-8")


def test_a_number_by_hand(tmp_path):
    (tmp_path / "a.csv").write_text("class,fold,dice\ndiscs,0,0.5\ndiscs,1,0.8764\ncanal,1,0.9\n")
    (tmp_path / "b.json").write_text('{"split": {"test": [3, 4, 9]}, "rate": 0.002}')
    table, content = (read_content(tmp_path, name) for name in ("a.csv", "b.json"))
    assert Number("d", "a.csv", "{dice:.3f}", ("fold == fold.max()", "`class` == 'discs'")).tell(table) == "0.876"
    assert Number("n", "a.csv", "{rows}", ("fold == 1",)).tell(table) == "2"
    assert Number("j", "b.json", "{split[test]} at {rate}").tell(content) == "3 at 0.002"
    assert read_content(tmp_path, "absent.csv") is None
    with pytest.raises(SpiderError, match="expected one row, found 2"):
        Number("d", "a.csv", "{dice}", ("fold == 1",)).tell(table)


def test_a_text_is_filled_and_unknown_names_are_refused():
    numbers = Numbers({"a": "0.890 [0.879, 0.900]"}, {"a": "x.csv", "b": "y.csv"}, frozenset({"0.97"}))
    assert numbers.fill("{a}, not 0.97") == "0.890 [0.879, 0.900], not 0.97"
    assert numbers.missing("{a} {b} {b}") == ["y.csv"]
    assert numbers.strange("0.890 of 0.97, 0.879, then 0.88 and 1,234,567") == ["0.88", "1,234,567"]
    with pytest.raises(SpiderError, match="number 'c'"):
        numbers.fill("{c}")


def test_another_result_changes_the_deck_and_a_missing_one_leaves_slides_out(tmp_path, slides):
    results = shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.ipynb"))
    dice = results / "paper_claim" / "dice.csv"
    table = dice.read_text().splitlines()
    changed = [re.sub(r"(unseen_patients,.*,100,pooled,foreground),[\d.]+", r"\1,0.777", line) for line in table]
    dice.write_text("\n".join(changed))
    (results / "choices" / "differences.csv").unlink()
    others, left_out = read_slides(results)
    assert "0.777" in " ".join(line for slide in others for line in (*slide.lines, slide.notes))
    assert list(left_out.values()) == ["choices/differences.csv"]
    assert len(others) == len(slides) - 1


def test_without_results_and_figures_little_is_left_and_all_is_said(tmp_path):
    slides, left_out = read_slides(tmp_path, tmp_path)
    assert all(slide.figure is None for slide in slides)
    assert "deck_spine.png" in left_out["A published Dice of 0.97, repeated on patients the network has never met"]
    write_deck(slides, tmp_path / "rest.pptx")


def test_a_wrong_key_or_a_name_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "slides.yaml").write_text("- {title: A, notes: B, picture: c}")
    with pytest.raises(SpiderError, match="unknown key picture"):
        read_slides(path=tmp_path / "slides.yaml")
    (tmp_path / "numbers.yaml").write_text("a.csv:\n  n: {text: x}\nb.csv:\n  n: {text: y}\n")
    with pytest.raises(SpiderError, match="found n again"):
        read_registry(tmp_path / "numbers.yaml")


def test_the_same_slides_give_the_same_bytes(slides, path, tmp_path):
    write_deck(slides, tmp_path / "again.pptx")
    assert (tmp_path / "again.pptx").read_bytes() == path.read_bytes()


def test_the_committed_deck_is_that_of_the_results(path):
    """Part by part, as another zlib packs the same parts otherwise."""
    with zipfile.ZipFile(DECK) as committed, zipfile.ZipFile(path) as new:
        assert committed.namelist() == new.namelist(), "run python -m tools.present"
        for name in new.namelist():
            assert committed.read(name) == new.read(name), f"{name} differs: run python -m tools.present"


def test_the_committed_answers_are_those_of_the_results(numbers):
    text = QUESTIONS.read_text(encoding="utf-8")
    assert text == questions(), "run python -m tools.present"
    assert numbers.strange(text) == []
    for words in ASKED:
        assert words in text
    for answer in re.findall(r"\*\*[^*]+\?\*\*(.*?)(?=\n\n|$)", text, re.DOTALL):
        assert 2 <= len(re.findall(r"[.?](?:\s|$)", answer.strip())) <= 5, answer


@pytest.mark.parametrize("page", PROSE, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_number_of_a_pages_running_text_is_a_result(numbers, page):
    """Outside the blocks that the tools write, and outside code."""
    strange = untraced(page.read_text(encoding="utf-8"), numbers, PROSE_TYPED)
    assert not strange, f"{strange}: neither in {REGISTRY.name} nor among the typed ones"


def test_a_number_that_nobody_measured_is_found():
    numbers = Numbers({"a": "0.890 of 30 patients"}, {"a": "x.csv"}, frozenset({"0.97"}))
    text = "On 30 patients 0.890, not 0.97: 31 have 0.88. `x = 77` and T2, HD95, [a](b_44.md), $55$, Figure 12.\n# 66\n"
    assert untraced(text, numbers, {}) == ["0.88", "31"]
    assert untraced(text, numbers, {"31": "a reason", "0.88": "another"}) == []


def test_copied_masks_lie_a_hundredth_below_the_papers_for_vertebrae_and_canal():
    copied = pd.read_csv(RESULTS / "paper_claim" / "copying.csv")
    copied = copied[copied["split"].str.contains("LEAKY") & (copied["folds"] == 10) & (copied["metric"] == "dice")]
    copied = copied[(copied["sequence"] == "all") & (copied["aggregation"] == "pooled")].set_index("class")["value"]
    assert round(0.9712 - copied["vertebrae"], 2) == round(0.9671 - copied["canal"], 2) == 0.01


def test_every_listed_number_is_quoted_somewhere(numbers):
    quoted = "".join(
        page.read_text(encoding="utf-8") for page in (SLIDES, TEMPLATE, *(ROOT / "notebooks").glob("*.py"))
    )
    prose = "".join(page.read_text(encoding="utf-8") for page in (*PROSE, *(ROOT / "results").glob("*/README.md")))
    listed = [one.name for one in read_registry()]
    idle = [name for name in listed if f"{{{name}}}" not in quoted and numbers.texts.get(name, "") not in prose]
    assert idle == []


def test_figures_of_the_slides_are_published():
    named = [entry["figure"] for entry in yaml.safe_load(SLIDES.read_text(encoding="utf-8")) if "figure" in entry]
    gallery = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    assert all((FIGURES / f"{name}.png").is_file() and f"({name}.png)" in gallery for name in named)

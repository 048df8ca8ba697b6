"""What notebooks show of the repository's results, and that what is not there is refused by name."""

import io

import pandas as pd
import pytest
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.present import numbers, published
from spider_utils.present.numbers import RESULTS
from spider_utils.present.slides import FIGURES


def test_a_table_and_its_command_are_those_of_the_folder():
    pd.testing.assert_frame_equal(published.table("leakage/dice"), pd.read_csv(RESULTS / "leakage" / "dice.csv"))
    assert published.command("leakage").startswith("python -m spider_utils study leakage ")


def test_a_picture_is_as_wide_as_it_is_asked_for_and_no_small_one_is_blown_up():
    with Image.open(FIGURES / "deck_spine.png") as whole:
        width, height = whole.size
    for asked in (300, 10 * width):
        with Image.open(io.BytesIO(published.picture("deck_spine", width=asked).data)) as shown:
            assert shown.width == min(asked, width)
            assert shown.width / shown.height == pytest.approx(width / height, rel=0.01)


def test_a_sentence_has_its_numbers():
    dice = pd.read_csv(RESULTS / "paper_claim" / "dice.csv").query("epoch == epoch.max() and aggregation == 'pooled'")
    value = dice.set_index(["arm", "class"]).loc[("unseen_patients", "foreground"), "value"]
    assert published.tell("Dice {unseen} here").data == f"Dice {value:.3f} here"
    with pytest.raises(SpiderError, match="number 'nothing'"):
        published.tell("{nothing}")


@pytest.mark.parametrize("ask", [published.table, published.command, published.picture])
def test_what_was_not_published_is_refused_with_a_remedy(ask):
    with pytest.raises(SpiderError, match="expected a published result, found no such file; run this notebook in a"):
        ask("absent")


def test_a_sentence_reads_the_files_of_its_own_numbers_alone(monkeypatch):
    read = []
    whole = numbers.read_content
    monkeypatch.setattr(numbers, "read_content", lambda results, file: read.append(file) or whole(results, file))
    published.tell("Dice {unseen}, {leaky} and {spider_scans}")
    assert sorted(read) == ["paper_claim/dice.csv", "spider_series.csv"]

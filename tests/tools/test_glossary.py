"""docs/glossary.md: the ten terms of the presentation in its words, and the other terms that notebooks link to."""

import re

import pytest
import yaml

from spider_utils.present.slides import SLIDES
from tools.links import headings
from tools.notebooks import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
TEXT = GLOSSARY.read_text(encoding="utf-8")
ENTRIES = {term: " ".join(told.split()) for term, told in re.findall(r"^### (.+)\n\n([^#]+)", TEXT, re.MULTILINE)}
TEN = dict(
    next(one for one in yaml.safe_load(SLIDES.read_text(encoding="utf-8")) if "Ten terms" in one["title"])["cards"]
)
OTHERS = (
    "t1 t2 sagittal series slice spacing orientation-and-direction-cosines label-map logits skip-connection precision "
    "recall hd95 asd nsd fold leakage bootstrap-interval paired-difference tversky-loss boundary-loss attention-gate "
    "25d apta phantom pfirrmann-grade"
)


@pytest.mark.parametrize("term", TEN)
def test_the_ten_terms_are_told_in_the_words_of_their_slide(term):
    assert len(TEN) == 10
    slide = f"{term} {TEN[term]}".replace("1 less the", "1 minus the")
    assert ENTRIES[term].startswith(slide.removesuffix("."))


def test_the_ten_terms_stand_on_top():
    top = TEXT.split("## ")[0]
    assert top.count("](#") == 10 and all(term.lower() in top.lower() for term in TEN)


def test_the_other_terms_have_headings():
    assert set(OTHERS.split()) <= headings(GLOSSARY)


@pytest.mark.parametrize("term", ENTRIES)
def test_every_term_is_short_and_names_the_notebook_where_it_is_seen(term):
    told, seen = ENTRIES[term].rsplit("Seen in", 1)
    assert "../notebooks/" in seen
    assert len(re.sub(r"\$\$.+?\$\$", "", told).split()) <= 80

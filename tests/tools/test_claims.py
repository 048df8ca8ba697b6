"""The claims table: in step with the published results, every row with a verdict, evidence, a command."""

import re
import shlex

import pandas as pd
import pytest

from spider_utils.__main__ import make_parser
from spider_utils.evaluate.paper import PAPER_TABLE
from tools.claims import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    PAGE,
    REPRODUCED,
    RESULTS,
    UNTESTABLE,
    VERDICTS,
    all_claims,
    claims_block,
    compared,
    measured,
    metric_claims,
    size_of,
)
from tools.notebooks import ROOT
from tools.spider_levels import count_levels

TABLE = pd.read_csv(RESULTS / "claims.csv", keep_default_na=False, na_values=[""])


def test_the_table_is_what_the_results_say_now():
    made = pd.DataFrame([vars(claim) for claim in all_claims()])
    pd.testing.assert_frame_equal(made, TABLE.drop(columns="number"), check_dtype=False)
    assert claims_block(TABLE) in PAGE.read_text(encoding="utf-8")


def test_every_row_is_complete():
    assert TABLE["number"].tolist() == list(range(1, len(TABLE) + 1))
    assert set(TABLE["verdict"]) <= set(VERDICTS)
    texts = TABLE[["topic", "claim", "source", "stated", "found", "evidence", "command"]]
    assert texts.map(lambda text: isinstance(text, str) and text.strip() != "").all().all()
    assert TABLE["claim"].is_unique


def test_the_claims_that_the_project_set_out_to_test_are_there():
    claims = " ".join(TABLE["claim"])
    for word in ("Dice of discs", "IoU of canal", "T1", "F1", "16 classes", "imbalance", "1000 slices", "over-fitting"):
        assert word in claims
    for word in ("Leaky ReLU", "Glorot", "combined loss", "nnU-Net", "T2 SPACE scores best"):
        assert word in claims


@pytest.mark.parametrize("row", list(TABLE.itertuples()), ids=lambda row: str(row.number))
def test_the_command_can_be_typed_and_the_evidence_is_there(row):
    for line in row.command.split(" && "):
        program = re.match(r"python -m ([\w.]+)|git ", line)
        assert program, line
        if program[1] == "spider_utils":
            make_parser().parse_args(shlex.split(line)[3:])
        elif program[1] not in (None, "pytest"):
            assert (ROOT / f"{program[1].replace('.', '/')}.py").is_file()
        elif program[1] == "pytest":
            assert all((ROOT / word).exists() for word in line.split()[3:])
    for place in re.findall(r"results/[\w/.]+\w", row.evidence):
        assert (ROOT / place).exists(), place


def test_a_verdict_follows_from_its_interval():
    tested = TABLE[(TABLE["topic"] == "score") & (TABLE["verdict"] != UNTESTABLE)]
    assert len(tested) == 8  # six of T2 SPACE, one of T1, one of T2
    for row in tested.itertuples():
        value = float(row.found.removesuffix(" at half size"))
        assert row.ci_low <= value + 5e-4 and value - 5e-4 <= row.ci_high
        assert row.verdict == (NOT_REPRODUCED if row.ci_high < float(row.stated) else REPRODUCED)


@pytest.mark.parametrize(("high", "verdict"), [(0.95, NOT_REPRODUCED), (0.97, REPRODUCED)])
def test_a_stated_value_above_the_interval_is_not_reproduced(high, verdict):
    row = pd.Series({"value": 0.94, "ci_low": 0.9, "ci_high": high})
    assert measured("score", "Dice", "Table 2", 0.96, row, "", "a run", "a command").verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.001, 0.02, REPRODUCED), (-0.01, 0.02, INCONCLUSIVE), (-0.02, -0.001, NOT_REPRODUCED)],
)
def test_an_interval_that_holds_0_decides_nothing(low, high, verdict):
    gain = {"difference": (low + high) / 2, "ci_low": low, "ci_high": high}
    assert compared("choice", "A beats B", "text", gain, "a study", "a command").verdict == verdict


def test_numbers_of_smaller_networks_are_called_so():
    assert size_of({"width": 16, "train_height": 640}) == ""
    assert size_of({"width": 8, "train_height": 320}) == "at half size"
    assert size_of({"width": 8, "train_height": 160}) == "at reduced size"
    scores = TABLE[(TABLE["topic"] == "score")]
    smaller = ~scores["evidence"].str.startswith("results/paper_claim")
    assert scores["found"].str.endswith("at half size").equals(smaller) and 0 < smaller.sum() < len(scores)


def test_f1_of_the_paper_is_that_of_its_iou_and_dice_is_not():
    """Independent of tools.claims: discs of T2 SPACE by hand, 2 x .9476 / 1.9476 = .97309."""
    discs = PAPER_TABLE.set_index(["sequence", "class"]).loc[("T2_SPACE", "discs")]
    assert round(2 * 0.9476 / 1.9476, 4) == discs["f1"] == 0.9731 != discs["dice"]
    f1, dice, _ = metric_claims()
    assert (f1.verdict, dice.verdict) == ("reproduced", "contradicted by the released material")


def test_the_released_slices_are_counted():
    """853 masks and 853 images, as the list of the released files has them."""
    assert "853 released, 622 of them of training patients" in TABLE["found"].tolist()


def test_levels_are_counted_by_hand():
    overview = pd.DataFrame({"num_vertebrae": [7, 7, 6], "num_discs": [7, 7, 6], "new_file_name": ["a", "b", "c"]})
    assert count_levels(overview).to_numpy().tolist() == [[7, 7, 16, 2], [6, 6, 14, 1]]

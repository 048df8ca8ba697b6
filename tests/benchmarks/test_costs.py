import pandas as pd
import pytest

from benchmarks import costs
from benchmarks.costs import cost_table, dice_table, reaching
from benchmarks.training import STEPS


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two studies of one fold with 10 slices: the paper's network reaches 0.9 after 4 epochs, another one after 2."""
    monkeypatch.setattr(costs, "STUDIES", ("first", "second"))
    told = {"first": [("baseline", 2, 0.89), ("baseline", 4, 0.9)], "second": [("other", 2, 0.91), ("other", 6, 0.92)]}
    for study, rows in told.items():
        (tmp_path / study).mkdir()
        for name, aggregation in (("foreground", "pooled"), ("discs", "pooled"), ("foreground", "mean")):
            scores = [
                {"arm": arm, "title": arm.title(), "epoch": epoch, "class": name, "aggregation": aggregation}
                | {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
                for arm, epoch, value in rows
            ]
            path = tmp_path / study / "dice.csv"
            pd.DataFrame(scores).to_csv(path, mode="a", header=not path.exists(), index=False)
        arms = {"arm": [rows[0][0]], "multiply_adds": [1000 if study == "first" else 1500]}
        pd.DataFrame(arms).to_csv(tmp_path / study / "cost.csv", index=False)
        pd.DataFrame({"train_slices": [9, 11]}).to_csv(tmp_path / study / "trainings.csv", index=False)
    return tmp_path


def test_what_a_dice_costs_by_hand(results):
    found = reaching(0.9, results)
    assert found[["arm", "epoch", "work"]].to_numpy().tolist() == [
        ["baseline", 4, 4 * 10 * 1000], ["other", 2, 2 * 10 * 1500], ["other", 6, 6 * 10 * 1500],
    ]  # fmt: skip
    measured = pd.DataFrame([{"row": "train_plain", "device": "cpu", "ours": 2.0}])
    paper, other = dice_table(0.9, measured, results).to_dict("records")
    assert (paper["least work to 0.90"], other["least work to 0.90"]) == ("Baseline", "Other")
    assert (paper["of the paper's"], other["of the paper's"]) == ("1.00", "0.75")
    assert other["Dice"] == "0.910 [0.900, 0.920]" and other["study"].endswith("epoch 2")


def test_a_job_of_as_many_slices_as_the_measured_steps_takes_their_time():
    settings = costs.settings_of(costs.Bench(costs.Path()))
    assert settings.epochs > 1
    measured = pd.DataFrame([{"row": "train_plain", "device": "cpu", "ours": 3.0}]).set_index("row")
    seconds = costs.training(settings, STEPS * costs.BATCH)(measured)
    assert seconds == pytest.approx(3.0 * settings.epochs)


def test_nothing_stands_where_no_rate_was_measured():
    rows = [{"row": "predict_volume_loop", "device": "cpu", "ours": 4.0, "machine": "x86_64, 2 cores"}]
    table = cost_table(pd.DataFrame(rows)).set_index("computed")
    assert table.loc["train as the paper, profile paper"].drop("of").tolist() == ["", "", ""]
    series = table.loc["predict SPIDER's 447 series"]
    slices = float(series["of"].split()[0].replace(",", ""))
    assert float(series["2 cores, hours"]) == pytest.approx(slices / 40 * 4 / 3600, rel=0.01)
    assert series["H100-class, hours"] == ""

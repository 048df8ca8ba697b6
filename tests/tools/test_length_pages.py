"""The pages of the studies "length" and "peers", of tables made by hand."""

from pathlib import Path

import pandas as pd

from tools.length_pages import MINUTES, flat, length_page, peers_page, settled

ORDER = pd.DataFrame(
    [[6, 3, 2, 2, 1, 1], [20, 3, 3, 2, 2, 0], [40, 3, 3, 2, 2, 0]],
    columns=["epoch", "pairs", "same", "shown", "kept", "reversed"],
)
REMAINING = pd.DataFrame(
    [
        ["a", 6, 0.02, 0.01, 0.03],
        ["b", 6, 0.01, -0.01, 0.02],
        ["a", 20, 0.0, -0.01, 0.01],
        ["b", 20, -0.01, -0.02, 0.0],
    ],
    columns=["arm", "epoch", "remaining", "ci_low", "ci_high"],
)


def test_the_first_length_without_a_change_is_told():
    assert settled(ORDER).endswith("are shown up to epoch 6, from epoch 20 on none.")
    assert settled(ORDER[1:]).startswith("No difference is shown at any scored length")
    assert settled(ORDER.assign(shown=[2, 3, 2])).endswith("up to epoch 20, the last scored before it.")
    assert flat(ORDER, REMAINING) == "Of all arms no gain is shown from epoch 20 on."
    assert flat(ORDER, REMAINING[1:]) == "Of all arms no gain is shown from epoch 6 on."
    rising = REMAINING.assign(ci_low=[0.01, -0.01, 0.01, -0.02], remaining=0.02)
    told = "From epoch 20 to 40 these still gain: a (+0.020). Of the others no gain is shown from epoch 6 on."
    assert flat(ORDER, rising) == told


def test_the_table_counts_pairs_and_arms_that_gain(tmp_path):
    ORDER.to_csv(tmp_path / "order.csv", index=False)
    REMAINING.to_csv(tmp_path / "remaining.csv", index=False)
    table, _ = length_page(tmp_path)
    assert "| 6 | 2 of 3 | 2 | 1 | 1 | +0.020 [+0.010, +0.030] | 1 of 2 |" in table
    assert "| 40 | 3 of 3 | 2 | 2 | 0 |  |  |" in table


def write_peers(folder: Path, device: str = "cpu") -> None:
    """The tables of a study with a peer, its two arms of different lengths."""
    pd.DataFrame({"device": [device] * 3}).to_csv(folder / "trainings.csv", index=False)
    arms = {"nnunet": ("nnU-Net", 20, 0.91), "best": ("ours", 20, 0.92), "best_long": ("ours, longer", 80, 0.93)}
    dice = [
        {"arm": arm, "title": title, "epoch": epoch, "aggregation": "pooled", "class": "foreground", "value": value}
        | {"ci_low": value - 0.01, "ci_high": value + 0.01, "patients": 30, "slices": 622}
        for arm, (title, epoch, value) in arms.items()
    ]
    pd.DataFrame(dice).to_csv(folder / "dice.csv", index=False)
    paired = [
        {"arm": arm, "title": arms[arm][0], "metric": metric, "unit": unit, "difference": difference}
        | {"ci_low": difference - 0.02, "ci_high": difference + 0.02, "p_holm": 0.01}
        for arm, difference in (("best", 0.01), ("best_long", 0.03))
        for metric, unit in (("dice", "ratio"), ("hd95", "px"), ("nsd_1", "ratio"))
    ]
    pd.DataFrame(paired).to_csv(folder / "paired.csv", index=False)
    minutes = {"nnunet": 90.0, "best": None, "best_long": 88.4}
    lengths = [
        {"arm": arm, "epoch": epoch, "slices": 409 * epoch, "cpu_minutes": minutes[arm]}
        for arm, (_, epoch, _) in arms.items()
    ]
    pd.DataFrame(lengths).to_csv(folder / "lengths.csv", index=False)
    counts = {"parameters": [33_000_000, 2_014_269, 2_014_269], "multiply_adds": [18.46e9, 1.2e9, 1.2e9]}
    pd.DataFrame({"arm": list(arms)} | counts).to_csv(folder / "cost.csv", index=False)


def test_the_page_of_peers_tells_each_arm_at_its_own_end(tmp_path):
    write_peers(tmp_path)
    table, told, _ = peers_page(tmp_path)
    heads, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    found = {line[0]: dict(zip(heads, line, strict=True)) for line in lines}
    assert found["nnU-Net"]["difference in Dice"] == "reference" and found["nnU-Net"]["parameters"] == "33,000,000"
    assert found["nnU-Net"]["multiply-adds"] == "18.5 G"
    assert found["ours, longer"]["foreground Dice"] == "0.930 [0.920, 0.940]"
    assert found["ours, longer"]["difference in Dice"] == "+0.030 [+0.010, +0.050]"
    assert found["ours, longer"]["slices seen"] == "32,720" and found["ours, longer"]["CPU minutes a fold"] == "88"
    assert found["ours"]["CPU minutes a fold"] == ""  # a training of a time that did not count them
    assert "differences are shown in: ours, longer: dice +0.030; ours, longer: hd95" in told  # the other's holds 0


def test_beside_a_gpu_no_minutes_of_a_cpu_are_told(tmp_path):
    write_peers(tmp_path, "cuda")
    table, told, _ = peers_page(tmp_path)
    assert "CPU" not in table and told.endswith(MINUTES)

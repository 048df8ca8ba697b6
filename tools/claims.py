"""Every claim of the paper and of its user's page that can be put to a test, with a verdict, evidence and a command.

    python -m tools.claims

Reads the published tables under results/ and writes results/claims.csv and the table of results/claims.md. A verdict that
rests on a number is computed from it, here: with a 95 % interval, a stated value above the interval is not reproduced.
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from spider_utils.common.files import read_json, write_text
from spider_utils.data.download import read_manifest
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import patient_weights
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.evaluate.scores import write_metrics
from spider_utils.models.build import build_model, count_parameters
from spider_utils.studies.paired import paired_difference
from tools.claim import (
    CONTRADICTED,
    EXPLAINED,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    RESULTS,
    UNTESTABLE,
    VERDICTS,
    Claim,
    command_of,
    compared,
    measured,
    resolution_claim,
    size_of,
    with_canal,
)
from tools.markdown import interval, markdown_table, with_block

PAGE = RESULTS / "claims.md"

# The authors' public training script, kept in the history of their repository; facts are read off it, no code is used.
SCRIPT_COMMIT = "d4fa3b8ebcdbbab851a1a74d7f580effb95d8c52"
SCRIPT = f"authors' public script main.py at commit {SCRIPT_COMMIT[:8]}"
SHOW_SCRIPT = (
    "git clone https://github.com/istiak769/Lumbar-Spine-MRI-Segmentation && "
    f"git -C Lumbar-Spine-MRI-Segmentation show {SCRIPT_COMMIT[:12]}:main.py"
)
THIS = "python -m tools.claims"
RUN_SPIDER = "python -m spider_utils run --source spider --data-dir data/spider --profile paper --out runs/spider"


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    claims = all_claims()
    table = pd.DataFrame([asdict(claim) for claim in claims])
    table.insert(0, "number", range(1, len(table) + 1))
    write_metrics(table, RESULTS / "claims.csv")
    write_text(PAGE, with_block(PAGE.read_text(encoding="utf-8"), "claims", claims_block(table)))
    return 0


def all_claims() -> list[Claim]:
    """Return all claims, in the order of the mission: scores, split, metrics, data, network, loss, comparisons."""
    return [
        *score_claims(),
        *split_claims(),
        *metric_claims(),
        *data_claims(),
        *setting_claims(),
        *choice_claims(),
        *comparison_claims(),
    ]


def claims_block(table: pd.DataFrame) -> str:
    """Return the claims as results/claims.md shows them."""
    rows = []
    for row in table.itertuples():
        told = f" [{row.ci_low:.3f}, {row.ci_high:.3f}]" if pd.notna(row.ci_low) else ""
        rows.append([str(row.number), row.claim, row.stated, f"{row.found}{told}", f"**{row.verdict}**", row.evidence])
    counts = table["verdict"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if name in counts)
    heads = ["", "claim", "stated", "found", "verdict", "evidence"]
    return (
        f"{markdown_table(heads, rows)}\n\n{len(table)} claims: {told}. The commands stand in [claims.csv](claims.csv)."
    )


def score_claims() -> list[Claim]:
    """Dice and IoU by class on T2 SPACE, against unseen patients; T1 and T2, for which no masks are released."""
    folder = RESULTS / "paper_claim"
    metrics = pd.read_csv(folder / "boundaries.csv").query(
        "arm == 'unseen_patients' and sequence == 'all' and aggregation == 'pooled'"
    )
    study = read_json(folder / "study.json")["study"]
    paper, size = PAPER_TABLE.set_index(["sequence", "class"]), size_of(study["base"])
    held = f"results/paper_claim: unseen patients, {study['folds']} folds, the authors' network at the paper's settings"
    claims = []
    for metric, title in (("dice", "Dice"), ("iou", "IoU")):
        for name in FOREGROUND:
            stated = paper.loc[("T2_SPACE", name), metric]
            row = metrics[(metrics["class"] == name) & (metrics["metric"] == metric)].iloc[0]
            claim = f"{title} of {name} on T2 SPACE"
            claims.append(measured("score", claim, "Table 2", stated, row, size, held, command_of(folder)))
    folder = RESULTS / "all_sequences"
    size = size_of(read_json(folder / "study.json")["study"]["base"])
    for sequence in ("T1", "T2"):
        row = with_canal(sequence)
        evidence = (
            f"results/all_sequences: {row['slices']} slices with canal of {row['patients']} unseen patients; one network "
            "for all three sequences, few slices of this one in training"
        )
        stated = paper.loc[sequence].loc[list(FOREGROUND), "dice"].mean()
        claim = f"Dice of the three structures on {sequence} (mean)"
        claims.append(measured("score", claim, "Table 2", stated, row, size, evidence, command_of(folder)))
    return claims


def split_claims() -> list[Claim]:
    """What the split is, and what it is worth."""
    folder = RESULTS / "paper_claim"
    gain = final_gains(folder).loc["random_slices"]
    return [
        Claim("split", "The scores are of data that the network has not met (validation data)", "text, Results",
              "split not stated", "10 % of the slices, dealt at random", None, None, CONTRADICTED,
              f"{SCRIPT}: one random split over slices; the same 10 % stop the training, choose the weights and are scored (that the paper's numbers come from this version is not stated)",
              SHOW_SCRIPT),
        Claim("split", "Validation curves close to the training curves show that there is no over-fitting", "text, Results",
              "no over-fitting", f"random slices score {gain['difference']:+.3f} Dice over unseen patients",
              gain["ci_low"], gain["ci_high"], NOT_REPRODUCED if gain["ci_low"] > 0 else INCONCLUSIVE,
              "results/paper_claim: same network, steps and slices, one seed, only the split differs; the script's validation slices are "
              "neighbours of its training slices", command_of(folder)),
    ]  # fmt: skip


def metric_claims() -> list[Claim]:
    """Dice, F1 and IoU by arithmetic; ASD and NSD by their definition in the script."""
    theirs = PAPER_TABLE[(PAPER_TABLE["sequence"] == "T2_SPACE") & PAPER_TABLE["class"].isin(FOREGROUND)]
    from_iou = 2 * theirs["iou"] / (1 + theirs["iou"])
    f1_off, dice_off = ((theirs[name] - from_iou).abs().max() for name in ("f1", "dice"))
    stacked = pd.read_csv(RESULTS / "copying" / "stacked.csv")
    copied = stacked[stacked["class"] == "discs"].set_index("metric")
    nsd, asd = copied.loc["nsd_1"], copied.loc["asd"]
    discs = theirs.set_index("class").loc["discs"]
    return [
        Claim("metric", "F1 is the F1 of the pixels that IoU is counted from (T2 SPACE)", "Table 2", "F1 column",
              f"2 IoU / (1 + IoU) differs by {f1_off:.5f} at most", None, None,
              REPRODUCED if f1_off < 1e-4 else CONTRADICTED, "arithmetic on Table 2", THIS),
        Claim("metric", "Dice is the Dice of the same pixels", "Table 2", "Dice column",
              f"2 IoU / (1 + IoU) differs by up to {dice_off:.4f}", None, None,
              CONTRADICTED if dice_off > 1e-4 else REPRODUCED,
              f"arithmetic on Table 2; {SCRIPT}: Dice is soft, of each image, with 1 added above and below, then averaged",
              THIS),
        Claim("metric", "An NSD of 0.999 and an ASD of 0.03 show almost perfect boundaries (discs)", "Table 2",
              f"NSD {discs['nsd']:.4f}, ASD {discs['asd']:.4f}",
              f"NSD {nsd['as_public_code']:.4f}, ASD {asd['as_public_code']:.4f} for copied masks, counted as in the script "
              f"(slice by slice: {nsd['per_slice']:.4f}, {asd['per_slice']:.3f} px)", None, None, CONTRADICTED,
              f"{SCRIPT}: all slices, in random order, are measured as one 3D object, in which an error is near the surface of "
              "the next slice, another patient's; results/copying/stacked.csv", command_of(RESULTS / "copying")),
    ]  # fmt: skip


def data_claims() -> list[Claim]:
    """Classes, filter, number of slices, label repair."""
    levels = pd.read_csv(RESULTS / "spider_levels.csv")
    sixteen = int(levels.loc[(levels["num_vertebrae"] == 7) & (levels["num_discs"] == 7), "series"].sum())
    filters = pd.read_csv(RESULTS / "filters" / "filters.csv").set_index("filter")
    of, text = int(filters.loc["text_ratio", "of"]), int(filters.loc["text_ratio", "kept"])
    published = int(filters.loc["published_ratio", "kept"])
    labels = pd.read_csv(RESULTS / "labels" / "labels_summary.csv").set_index("measure")["value"]
    images = sum(one.path.startswith("images/") for one in read_manifest())
    low = min(labels[f"Dice {name}"] for name in FOREGROUND)
    before, after = (int(labels[f"all slices: enough_{way}"]) for way in ("direct", "apta"))
    return [
        Claim("data", "The masks have 16 classes where 4 are wanted", "text, Data", "16",
              f"1 + 7 + 1 + 7 in {sixteen} of {levels['series'].sum()} series", None, None, EXPLAINED,
              "SPIDER's overview.csv: background, one label a vertebra, the canal, one a disc; the number follows the levels "
              "in view, and all map to 4 classes by value",
              "python -m spider_utils download --source spider --out data/spider && "
              "python -m tools.spider_levels data/spider/overview.csv"),
        Claim("data", "Slices with a class imbalance ratio above 55 % are dropped", "text, Data", "55 %",
              f"as written it keeps {text} of {of} released slices, inverted (as published) {published}", None, None,
              CONTRADICTED if text == 0 and published == of else NOT_REPRODUCED,
              "results/filters: highest / lowest is never below 1, lowest / highest never above 0.55; the released slices "
              "are gap-free central runs", command_of(RESULTS / "filters")),
        Claim("data", "1000 slices of T2 SPACE", "text, Data", "1000", f"{images} released, {of} of them of training patients", None, None, UNTESTABLE,
              "the authors' released files, counted in spider_utils/data/released_manifest.csv; more may have been used than "
              "were released", THIS),
        Claim("data", "APTA restores the four classes", "text, Data", "complete labels",
              f"Dice against direct labels down to {low:.3f}; complete slices rise from {before} to {after}", None, None,
              NOT_REPRODUCED, "results/labels, on the PHANTOM: APTA moves edges and invents classes in lateral slices, so that "
              "slices pass the four-class filter which lack a class; labels by value need no repair",
              command_of(RESULTS / "labels")),
    ]  # fmt: skip


def setting_claims() -> list[Claim]:
    """Where text and public code part."""
    text, code = (count_parameters(build_model(name)) for name in ("paper_text", "author_code"))
    return [
        Claim("setting", "The text's network is the one of the code", "text, Method", "one network",
              f"{text:,} parameters by our reading of the text, {code:,} in the code", None, None, CONTRADICTED,
              "spider_utils.models.build: the code has ReLU in 20 of 21 places, one batch normalisation a block, no pooling before "
              "512 channels (notebook 03; equal to a Keras build)", "python -m pytest tests/models/test_paper.py"),
        Claim("setting", "512 x 640 pixels, batch size 8, 0.6 Focal + 0.4 Dice", "text, Method", "512 x 640, 8, 0.6",
              "256 x 256, 1, 0.7 in the script", None, None, CONTRADICTED,
              f"{SCRIPT}: what it trains; other runs had other values (a weight file that it loads is named Batch 8, 700 epochs, gamma 2, alpha 0.5)",
              SHOW_SCRIPT),
    ]  # fmt: skip


def choice_claims() -> list[Claim]:
    """Each choice of the paper against its alternative, on unseen patients."""
    folder = RESULTS / "choices"
    gains = final_gains(folder)
    named = {
        "relu": "Leaky ReLU is better than ReLU",
        "he_normal": "Glorot initialisation is better (than He's)",
        "focal_alone": "The combined loss is better than Focal alone",
        "dice_alone": "The combined loss is better than Dice alone",
    }
    claims = []
    for arm, claim in named.items():
        row = gains.loc[arm]
        # the table says how far the alternative lies above the paper's choice; a claim says the reverse
        gain = {"difference": -row["difference"], "ci_low": -row["ci_high"], "ci_high": -row["ci_low"]}
        evidence = "results/choices: unseen patients, paired; small network, short training, one seed"
        claims.append(compared("choice", claim, "text, Method", gain, evidence, command_of(folder)))
    return claims


def comparison_claims() -> list[Claim]:
    """Comparisons with a peer, with sequences, with what is not at hand, and the user's page on the structures."""
    return [
        beside_nnunet(),
        resolution_claim(),
        Claim("comparison", "Dropping slices that lack structures stabilises training", "user's page", "stabler", "-", None,
              None, UNTESTABLE, "every released slice holds all classes; the dropped ones are not released", RUN_SPIDER),
        harder_discs(),
    ]  # fmt: skip


def beside_nnunet() -> Claim:
    """The paper's network and loss beside nnU-Net on the same slices and unseen patients, as many slices seen."""
    folder = RESULTS / "peers"
    gain = pd.read_csv(folder / "paired.csv").query("arm == 'baseline' and metric == 'dice'").iloc[0].to_dict()
    large = pd.read_csv(RESULTS / "peers_full_size" / "paired.csv").query("arm == 'paper_text' and metric == 'dice'")
    size = size_of(read_json(folder / "study.json")["study"]["base"])
    evidence = (
        f"results/peers: the paper's network and loss beside nnU-Net v2, 2D, on the same slices of {gain['n']} unseen "
        f"patients, trained on as many, {gain['seeds']} seeds; at the paper's size (results/peers_full_size, one seed) "
        f"{interval(large.iloc[0].to_dict(), 'difference', '+.3f')}; the paper sets its 2D slices, whose split is not "
        "stated, beside 3D scores of SPIDER's sequestered patients"
    )
    found = f"{gain['difference']:+.3f} Dice {size}"
    one = compared("comparison", "Better than nnU-Net", "text, Discussion", gain, evidence, command_of(folder), found)
    return replace(one, stated="0.97 against 0.92 / 0.86 / 0.92")


def harder_discs() -> Claim:
    """Thin discs are harder: on the same patients they must score below the vertebrae and below the canal."""
    folder = RESULTS / "errors"
    table = pd.read_csv(folder / "errors_by_group.csv").query("group == 'patient'")
    dice = table.pivot_table(index="value", columns="class", values="dice")
    weights = patient_weights(len(dice))
    gains = {
        name: paired_difference((dice[name] - dice["discs"]).to_numpy(), weights) for name in ("vertebrae", "canal")
    }
    told = [
        f"{name} {one['difference']:+.3f} [{one['ci_low']:+.3f}, {one['ci_high']:+.3f}]" for name, one in gains.items()
    ]
    least = min(gains.values(), key=lambda one: one["ci_low"])
    evidence = (
        f"results/errors: Dice of {len(dice)} unseen patients, each compared with itself: above the discs lie "
        f"{', '.join(told)}; the interval in the column before is that of the nearer one"
    )
    claim = "Thin discs are the harder problem"
    found = f"{least['difference']:+.3f} Dice at least"
    return compared("comparison", claim, "user's page", least, evidence, command_of(folder), found)


def final_gains(folder: Path) -> pd.DataFrame:
    """Return a published study's differences of pooled foreground Dice after the last epoch, by arm."""
    chosen = "epoch == epoch.max() and aggregation == 'pooled' and `class` == 'foreground'"
    return pd.read_csv(folder / "differences.csv").query(chosen).set_index("arm")


if __name__ == "__main__":
    sys.exit(main())

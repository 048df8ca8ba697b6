"""Arms of a study patient by patient: each patient's scores, and what an arm changes in them beside the reference arm.

A patient's Dice is that of its pixels pooled, the mean of the three foreground classes. HD95, ASD and NSD (at 1 mm, or
1 px) are means over the patient's slices, then over the three classes. A slice with a class in exactly one of the two
masks has no HD95 and ASD of it (its NSD is 0); how often that happens is counted as `missed`, since an arm that misses
more is spared its worst distances.

Differences are arm minus reference, patient by patient. The Wilcoxon signed-rank test (Wilcoxon 1945) asks whether they
lie around 0; its p values are adjusted over all arms of a metric (Holm 1979), so that the chance of one false alarm
among them stays below 5 %. The test, and with one seed the interval, hold how patients differ, not how trainings do:
the patients of a fold share one trained network, and another seed can move all of them together. With several seeds
the interval holds both (see `bootstrap.patient_weights`).
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from spider_utils.common.errors import SpiderError
from spider_utils.common.progress import progress
from spider_utils.data.labels import FOREGROUND
from spider_utils.evaluate.bootstrap import estimate, patient_weights, seeds_of, tell_seeds, weighted_mean
from spider_utils.evaluate.metrics import METRICS
from spider_utils.evaluate.overlap import pooled_dice
from spider_utils.evaluate.scores import SliceScores
from spider_utils.studies.harness import read_final_scores
from spider_utils.studies.plan import Training

BOUNDARIES = ("hd95", "asd", "nsd_1")
COMPARED = ("dice", *BOUNDARIES)
LEVEL = 0.05  # of the adjusted p value
BETTER = {name: 1 if METRICS[name].higher_is_better else -1 for name in COMPARED}  # the sign of an improvement


def study_patients(trainings: list[Training], out: Path) -> pd.DataFrame:
    """Return `patient_table` of the last epoch of all arms and seeds of a finished study."""
    arms = progress(list(dict.fromkeys(one.arm for one in trainings)), desc="patients", unit="arm")
    parts = [patient_table({arm: read_final_scores(trainings, out, arm)}) for arm in arms]
    return pd.concat(parts, ignore_index=True)


def patient_table(scores_by_arm: dict[str, SliceScores]) -> pd.DataFrame:
    """Return a row for every arm, seed and patient: these, slices, dice, hd95, asd, nsd_1, unit and missed.

    Scores without a column seed are those of seed 0. `missed` counts the pairs of a slice and a foreground class with
    the class in exactly one of the two masks. A patient without a value in one of the three classes has NaN. Raises
    SpiderError where distances in mm and in pixels meet, since they must not become one number.
    """
    parts = []
    for arm, scores in scores_by_arm.items():
        table = scores.table[scores.table["class"].isin(FOREGROUND)]
        units = table["unit"].unique()
        if len(units) != 1:
            raise SpiderError(f"arm '{arm}': expected distances of one unit, found {', '.join(units) or 'no slice'}")
        table, keys = (table if "seed" in table else table.assign(seed=0)), ["seed", "patient"]
        means = table.groupby([*keys, "class"])[list(BOUNDARIES)].mean().unstack("class")
        part = pd.DataFrame({"slices": table.drop_duplicates(["seed", "series", "slice_index"]).groupby(keys).size()})
        part["dice"] = pooled_dice(table, keys).mean(axis=1, skipna=False)
        for name in BOUNDARIES:
            part[name] = means[name].reindex(columns=list(FOREGROUND)).mean(axis=1, skipna=False)
        part = part.assign(unit=units[0], missed=table.groupby(keys)["missed"].sum().astype(int))
        parts.append(part.rename_axis(keys).reset_index().assign(arm=arm))
    whole = pd.concat(parts, ignore_index=True)
    return whole[["arm", *(name for name in whole if name != "arm")]]


def paired_table(
    patients: pd.DataFrame, reference: str, titles: dict[str, str] | None = None, kinds: dict[str, str] | None = None
) -> pd.DataFrame:
    """Return how far each arm lies from the reference arm: a row for every other arm and metric of COMPARED.

    `patients` is what `patient_table` or `study_patients` returns; every arm has the same seeds. `titles` and `kinds`
    name the arms. Columns: arm, title, kind, reference, metric, unit ("ratio", or that of the distance), n (patients
    that have the value in both arms, of any seed; the others are left out), difference (arm minus reference, the mean
    over all patients and seeds), ci_low and ci_high (95 % percentile bootstrap over patients and, where there are
    several, seeds, the same draws for all arms; NaN with one patient), p (Wilcoxon signed-rank, two-sided; 1 where no
    patient differs, NaN without patients), p_holm (over all arms of the metric), better and worse (patients), missed
    and reference_missed (see `patient_table`; over all patients, mean over seeds), and with several of them seeds. Test
    and counts take a patient's mean over seeds. Raises SpiderError when the reference arm is not there or units differ.
    """
    arms = list(patients["arm"].unique())
    if reference not in arms:
        raise SpiderError(f"paired: no patient of the reference arm '{reference}'; expected it among {', '.join(arms)}")
    units = patients["unit"].unique()
    if len(units) != 1:
        raise SpiderError(f"paired: expected distances of one unit, found {', '.join(units)}")
    values = patients.set_index(["arm", "patient", "seed"])[[*COMPARED, "missed"]]
    everyone, seeds = np.sort(patients["patient"].unique()), seeds_of(patients)
    pairs = pd.MultiIndex.from_product([everyone, seeds])
    weights = patient_weights(len(everyone), seeds=len(seeds))
    base, rows = values.loc[reference].reindex(pairs), []
    for arm in (name for name in arms if name != reference):
        own = values.loc[arm].reindex(pairs)
        row = {"arm": arm, "title": (titles or {}).get(arm, arm), "kind": (kinds or {}).get(arm, "")}
        missed = {"missed": own["missed"].sum() / len(seeds), "reference_missed": base["missed"].sum() / len(seeds)}
        for metric, sign in BETTER.items():
            gain = (own[metric] - base[metric]).to_numpy().reshape(len(everyone), len(seeds))
            change = sign * over_seeds(gain)
            place = {"reference": reference, "metric": metric, "unit": METRICS[metric].unit(units[0])}
            counts = {"better": int((change > 0).sum()), "worse": int((change < 0).sum())}
            found = paired_difference(gain, weights) | counts | missed
            rows.append(row | place | found | tell_seeds(len(seeds)))
    columns = "arm title kind reference metric unit n difference ci_low ci_high p better worse missed reference_missed"
    table = pd.DataFrame(rows, columns=[*columns.split(), *tell_seeds(len(seeds))])
    table.insert(table.columns.get_loc("p") + 1, "p_holm", table.groupby("metric")["p"].transform(holm))
    return table


def differs(table: pd.DataFrame) -> pd.Series:
    """Return of each row of a `paired_table` whether it shows a difference: the interval does not hold 0, and the
    adjusted p is below LEVEL. This is the one rule by which anything is called better or worse.
    """
    return ((table["ci_low"] > 0) | (table["ci_high"] < 0)) & (table["p_holm"] < LEVEL)


def paired_difference(gain: np.ndarray, weights: np.ndarray) -> dict[str, float | int]:
    """Return n, difference, ci_low, ci_high and p of each patient's difference, NaN where there is none.

    `gain` is (patients,) or (patients, seeds); `weights`: how often each of them counts, see
    `bootstrap.patient_weights`. The test takes a patient's mean over seeds.
    """
    change = over_seeds(gain)
    there = ~np.isnan(change)
    n, differing = int(there.sum()), change[there & (change != 0)]
    p = float(wilcoxon(differing).pvalue) if differing.size else (1.0 if n else float("nan"))
    return {"n": n} | estimate("difference", weighted_mean(weights, gain.ravel()), n) | {"p": p}


def over_seeds(gain: np.ndarray) -> np.ndarray:
    """Return each patient's mean over the seeds that have a value, (patients,), of (patients,) or (patients, seeds)."""
    return pd.DataFrame(gain).mean(axis=1).to_numpy()


def holm(p: pd.Series) -> pd.Series:
    """Adjust p values for their number (Holm 1979): the k-th smallest of m times m - k + 1, never below the one before.

    NaN stays NaN and does not count.
    """
    ordered = p.dropna().sort_values(kind="stable")
    factors = np.arange(len(ordered), 0, -1)
    return (ordered * factors).cummax().clip(upper=1.0).reindex(p.index)

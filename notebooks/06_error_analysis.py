# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6 Error analysis
#
# **The question of this notebook: where does the network fail, and does the failure have a pattern?** Masks over the MRI, the worst slices, and
# the scores by class, sequence, patient and position.

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper

# %%
from spider_utils import data, evaluate, runs, analysis, figures, present

run = runs.open_run(run_dir, source, data_dir, profile)
scores, metrics = run.scores()
masks, table = run.predictions()
print("predicted slices:", masks.shape, masks.dtype)

# %% [markdown]
# ## 6.1 A slice's own score
#
# From here on only the test patients. A slice's score is the mean Dice of its three structures.

# %%
chosen = table.index[table["split"] == "test"].to_numpy()
store = run.store()
images, reference = (array[table.loc[chosen, "row"].to_numpy()] for array in (store.images, store.masks))
prediction = masks[chosen]
tested = scores.table[(scores.table["split"] == "test") & scores.table["class"].isin(data.FOREGROUND)]
slices = tested.groupby(["series", "patient", "sequence", "slice_index"], sort=False)["dice"].mean().reset_index()
print("test slices:", len(slices), "| images", images.shape)

# %%
assert len(slices) == len(chosen)
assert (slices["series"].to_numpy() == table.loc[chosen, "series"].to_numpy()).all()
assert (slices["slice_index"].to_numpy() == table.loc[chosen, "slice_index"].to_numpy()).all()


# %% [markdown]
# ## 6.2 The best slice of up to six patients
#
# Green is right, red-orange was predicted and is not there (or is another structure), blue is there and was missed. For the screen only,
# slices are brightened (0.5 to 99.9 percentile, gamma 0.7).

# %% tags=["nbval-ignore-output"]
def overlays(numbers, heading):
    """Draw the slices with these numbers: reference, prediction and errors beside each other."""
    rows = slices.loc[numbers]
    titles = [f"{row.series}, slice {row.slice_index}: Dice {row.dice:.3f}" for row in rows.itertuples()]
    arrays = (images[numbers], reference[numbers], prediction[numbers])
    return figures.overlay_grid(*arrays, titles, heading, source=run.source)


# %% [markdown]
# Of each patient the slice with the highest Dice:

# %% tags=["nbval-ignore-output"]
best = slices.loc[slices.groupby("patient")["dice"].idxmax()].nlargest(6, "dice").index.to_numpy()
figures.keep(overlays(best, "The best slice of each patient"), run.figures, "06_best")

# %% [markdown]
# **Figure 6.1** The best slice of up to six test patients.

# %% [markdown]
# ## 6.3 The worst slices
#
# And the ones that a user would complain about: the worst slice of each patient, worst first.

# %% tags=["nbval-ignore-output"]
worst = slices.loc[slices.groupby("patient")["dice"].idxmin()].nsmallest(6, "dice").index.to_numpy()
figures.keep(overlays(worst, "The worst slice of each patient"), run.figures, "06_worst")

# %% [markdown]
# **Figure 6.2** The worst slice of up to six test patients. The very worst one, larger:

# %% tags=["nbval-ignore-output"]
one = worst[0]
title = f"{slices.loc[one, 'series']}, slice {slices.loc[one, 'slice_index']}: Dice {slices.loc[one, 'dice']:.3f}"
figures.keep(figures.error_overlay(images[one], reference[one], prediction[one], title, source=run.source), run.figures, "06_worst_one")

# %% [markdown]
# **Figure 6.3** The worst test slice. By hand, all of them, the worst first; patient, view and classes can be chosen:

# %% tags=["nbval-ignore-output"]
figures.show_widget(figures.browse_predictions(images, reference, prediction, slices, source=run.source))

# %% [markdown]
# ## 6.4 By class and sequence
#
# Mean over slices; with one sequence in the data there is one row.

# %% tags=["nbval-ignore-output"]
tested.pivot_table(index="sequence", columns="class", values=["dice", "recall", "precision"], aggfunc="mean").round(3)

# %% [markdown]
# ## 6.5 Which class is taken for which?
#
# Read along a row: where do this structure's pixels go? The matrix does not tell whether they lie on an edge; section 6.8 does.

# %% tags=["nbval-ignore-output"]
pairs = evaluate.confusion(reference, prediction)
figures.keep(figures.confusion_matrix(pairs, source=run.source), run.figures, "06_confusion")

# %% [markdown]
# **Figure 6.4** Confusion matrix of the test pixels, each row in percent.

# %%
assert pairs.sum() == reference.size and pairs.shape == (4, 4)

# %% [markdown]
# ## 6.6 By patient
#
# A mean over slices hides differences between patients.

# %% tags=["nbval-ignore-output"]
by_patient = tested.groupby(["patient", "class"])["dice"].mean().reset_index()
figures.keep(figures.scores_by_patient(by_patient, source=run.source), run.figures, "06_by_patient")

# %% [markdown]
# **Figure 6.5** Mean Dice over a patient's slices, worst patient first.

# %% [markdown]
# ## 6.7 By position in the series
#
# Towards the sides a slice shows less of the canal, and vertebrae where they are thin.

# %% tags=["nbval-ignore-output"]
placed = tested.assign(position=(evaluate.lateral_position(tested) + 1) / 2)
figures.keep(figures.scores_by_position(placed, source=run.source), run.figures, "06_by_position")

# %% [markdown]
# **Figure 6.6** Dice against the slice's place in its series, from the first kept slice to the last.

# %% [markdown]
# ## 6.8 How far off is the contour?
#
# Distances from each pixel of the predicted contour to the nearest reference contour, by structure. They step by pixels, and what was missed
# altogether is not in them.

# %% tags=["nbval-ignore-output"]
import numpy as np

distances = scores.distances.merge(tested[["class", "unit"]], left_on="row", right_index=True)
unit = tested["unit"].iloc[0]
inward = distances[(distances["direction"] == "prediction") & (distances["unit"] == unit)]
repeated = {name: np.repeat(part["distance"], part["count"]).to_numpy() for name, part in inward.groupby("class")}
repeated = {name: repeated[name] for name in data.FOREGROUND if name in repeated}  # without what was never predicted
missing = "No predicted contour meets one of the reference, so there are no distances."
figures.keep(figures.distance_histogram(repeated, unit, source=run.source), run.figures, "06_distances") if repeated else missing

# %% [markdown]
# **Figure 6.7** Boundary distances; the last bin holds everything beyond the 99th percentile.

# %% [markdown]
# ## 6.9 Thirty real patients: which class fails?
#
# From here to 6.15 this notebook is always about the 622 released T2 SPACE slices, whatever data the run has. The study `errors` trains the shipped
# combination of network, loss and augmentation on two thirds of the patients and segments the rest, three times, so that every patient is
# segmented by a network that had not met it; its tables lie under `results/errors` of the repository. Intervals are bootstrapped over patients.

# %%
import pandas as pd

published = present.RESULTS / "errors"  # there in a checkout of the repository, not in an installed package
names = ("by_group", "pathology", "where", "distance", "causes", "reference", "worst")
tables = {name: pd.read_csv(published / f"errors_{name}.csv") for name in names} if published.is_dir() else {}
print((published / "command.txt").read_text() if tables else "No results/ here: read this section in the repository.")


# %%
def told(rows, name="dice"):
    """Rows of a table as text: value [interval], by the row's own interval."""
    return [f"{row[name]:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" for _, row in rows.iterrows()]


def by(group):
    """The Dice of each class by one grouping of patients or slices."""
    rows = tables["by_group"].query("group == @group")
    rows = rows.assign(told=told(rows))
    return rows.pivot_table(index="value", columns="class", values="told", aggfunc="first", sort=False)


by("all") if tables else None

# %% [markdown]
# Dice is the mean over a patient's slices, then over patients. Discs come out worst; they are also the thinnest structure, and one pixel off their
# edge costs most (the reference less one pixel has a disc Dice of 0.91, section 5.8 and `results/reference`).
#
# ![Dice of unseen patients by class, place and size](../figures/errors_errors_groups.png)
#
# **Figure 6.8** Dice of unseen patients by class, by the place of the slice, and by the size of the structure.
#
# ## 6.10 In which patients, slices and sizes?

# %%
patients = tables["by_group"].query("group == 'patient' and `class` == 'foreground'").set_index("value")["dice"] if tables else None
if tables:
    low, high = patients.nsmallest(5).round(3), patients.nlargest(5).round(3)
    print("lowest five patients: ", ", ".join(f"{name}: {value:.3f}" for name, value in low.items()))
    print("highest five patients:", ", ".join(f"{name}: {value:.3f}" for name, value in high.items()))

# %% [markdown]
# By the place of the slice in the series (thirds, the middle one holds the canal's middle), and by the size of the structure in the slice
# (quarters of all slices, by reference pixels):

# %%
by("lateral") if tables else None

# %%
by("size") if tables else None

# %% [markdown]
# Small means a slice that only grazes the structure, so size and place tell in part the same. Scanner and field strength cannot be told apart
# here: all series come from one maker, and all but one from one field strength.

# %%
by("field") if tables else None

# %% [markdown]
# ## 6.11 Where do the wrong pixels sit?
#
# The share of wrong pixels that lie within so many pixels of the reference's boundary:

# %%
near = tables["distance"].assign(told=told(tables["distance"], "share")) if tables else None
near.pivot_table(index="class", columns="within", values="told", aggfunc="first", sort=False) if tables else None

# %% [markdown]
# And by region, each wrong pixel in exactly one: the share of the class's wrong pixels.

# %%
places = tables["where"].query("pixels > 0") if tables else None
places = places.assign(told=told(places, "share")) if tables else None
places.pivot_table(index="region", columns="class", values="told", aggfunc="first", sort=False).fillna("") if tables else None

# %% [markdown]
# ![Where the wrong pixels sit](../figures/errors_errors_where.png)
#
# **Figure 6.9** The same as a picture.
#
# ## 6.12 Why are they wrong?
#
# Every wrong pixel has one cause. *Reference error* comes first: what the reference audit (`results/reference`) finds of a series, such as discs drawn
# without the gap to the vertebra, a missing top vertebra, specks of false canal. Then *wrong class*, *missed part* and *extra island* (pieces
# that do not meet the other mask), *outgrowth* (a bulge or bite deeper than an edge), and what is left is *boundary*.

# %%
causes = tables["causes"].assign(told=told(tables["causes"], "share")) if tables else None
causes.pivot_table(index="cause", columns="class", values="told", aggfunc="first", sort=False) if tables else None

# %% [markdown]
# ![One of the worst slices](../figures/errors_errors_example.png)
#
# **Figure 6.10** The very worst slice: hits and errors, wrong pixels by region, and by cause.
#
# Faults that are suspected of the reference itself, by patient and kind: slices, and the wrong pixels that they explain.

# %%
faults = tables["reference"].groupby(["patient", "fault"])["wrong"].agg(["count", "sum"]) if tables else None
faults.rename(columns={"count": "slices and classes", "sum": "pixels"}) if tables else None

# %% [markdown]
# ## 6.13 Does degeneration matter?
#
# Vertebrae and discs of each stack are numbered from below, scored one by one, and joined with SPIDER's gradings of the same disc (a vertebra with those of
# the disc under it). `difference`: structures with the finding less those without, with an interval over patients; `adjusted`: the same within
# patients that have both, which takes away that some patients are worse altogether; `detectable`: the smallest difference whose interval would not hold 0.

# %%
columns = ["structure", "finding", "grade", "structures", "patients", "dice", "difference", "difference_low", "difference_high", "adjusted", "adjusted_low", "adjusted_high", "detectable"]
graded = tables["pathology"].query("structure == 'disc' and patients > 2") if tables else None
graded[columns].round(3).reset_index(drop=True) if tables else None

# %%
print(analysis.pathology_statement(tables["pathology"]) if tables else "")

# %% [markdown]
# ![Dice of each vertebra and disc by level](../figures/errors_errors_levels.png)
#
# **Figure 6.11** Dice of each vertebra and disc by its level, counted from below; levels at the upper edge are few and cut off.
#
# ![Dice of discs and vertebrae by SPIDER's gradings](../figures/errors_errors_pathology.png)
#
# **Figure 6.12** The same as a picture; a narrow disc is also thin, which lowers its Dice by itself.
#
# ## 6.14 The ten worst slices
#
# The sentences are computed from the slice, its masks and the patient's gradings.

# %%
for number, sentence in enumerate(tables["worst"]["sentence"], start=1) if tables else ():
    print(f"{number:2d}. {sentence}")

# %% [markdown]
# ![The ten worst slices](../figures/errors_errors_worst.png)
#
# **Figure 6.13** The ten worst slices; they come from few patients.
#
# ## 6.15 Does the network know when it fails?
#
# Calibration: of the pixels to which the network gives a probability of 0.8, are 80 % right? The expected calibration error (Guo et al. 2017) is the mean
# gap; it is taken near the structures too, since most of a slice is easy background.

# %%
sure = {name: pd.read_csv(published / f"{name}.csv") for name in ("calibration", "uncertainty_summary")} if (published / "calibration.csv").is_file() else {}
sure["calibration"][["region", "class", "ece", "ece_low", "ece_high", "brier", "confidence"]].round(4) if sure else None

# %% [markdown]
# `confidence`: mean probability less share of right pixels; above 0 is overconfident. And per slice: does an uncertainty that needs no reference put
# the bad slices first? `expected_error` is one less the Dice that the network's own probabilities promise, `views` the disagreement of shifted and scaled looks,
# `place` only the slice's distance from the middle of its series. `found_20`: the share of the worst tenth of slices among the fifth that is most uncertain.

# %%
columns = ["score", "spearman", "spearman_low", "spearman_high", "auroc", "auroc_low", "auroc_high", "found_20"]
sure["uncertainty_summary"][columns].round(3) if sure else None

# %% [markdown]
# ![Does uncertainty find the worst slices](../figures/errors_uncertainty.png)
#
# **Figure 6.14** Uncertainty against the slice's true Dice.
#
# ## 6.16 Which sequence fails, in which structure, and where?
#
# The masks of 36 T2 slices of 28 patients and of 5 T1 slices (results of the repository again, whatever data this run has). Two networks segment
# patients that they have not met: the one that has learnt from T2 SPACE alone (study `sequences`), and the one that has learnt from all three
# (study `all_sequences`). Far from the midline a slice shows no canal: there the foreground's mean of three is not told. Pooled Dice:

# %%
places = {name: present.RESULTS / name / f"{table}.csv" for name, table in (("sequences", "sequences_summary"), ("all_sequences", "by_sequence"))}
tables_16 = {name: pd.read_csv(path) for name, path in places.items() if path.is_file()}


def pooled(name, index, **where):
    """Pooled Dice of one of these tables as text, classes in columns."""
    rows = tables_16[name].query("aggregation == 'pooled' and `class` != 'background'")
    rows = rows.loc[np.logical_and.reduce([rows["aggregation"] == "pooled", *(rows[key] == value for key, value in where.items())])]
    return rows.assign(told=told(rows, "value")).pivot_table(index=index, columns="class", values="told", aggfunc="first", sort=False).fillna("")


pooled("sequences", ["sequence", "slices"], network="spine_t2space", patients="not met", metric="dice") if "sequences" in tables_16 else None

# %%
pooled("all_sequences", ["sequence", "position"]) if "all_sequences" in tables_16 else None

# %% [markdown]
# ![Dice of one network on each sequence](../figures/all_sequences_scores.png)
#
# **Figure 6.15** One network for all three sequences, on patients that it has not met.
#
# ![The worst T1 and T2 slices](../figures/sequences_worst.png)
#
# **Figure 6.16** The worst slices of the network of T2 SPACE: false structures far from the midline, a canal that is cut off, discs of T1.
#
# **Is it resolution?** The paper says that T2 SPACE scores best for its resolution. So its slices are made as coarse as T2's (study `resolution`: in-plane
# pixel, slice thickness, both) and segmented by the same networks. `difference` is what each step changes, from T2 SPACE as it is to T2 far from the midline:

# %%
steps = present.RESULTS / "resolution" / "resolution_steps.csv"
changes = pd.read_csv(steps) if steps.is_file() else None
if changes is not None:
    changes["told"] = [f"{row.difference:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" for row in changes.itertuples()]
changes.pivot_table(index=["step", "to"], columns="class", values="told", aggfunc="first", sort=False).fillna("") if steps.is_file() else None

# %% [markdown]
# ![T2 SPACE as coarse as T2](../figures/resolution_resolution.png)
#
# **Figure 6.17** Coarser slices of T2 SPACE score no worse with these networks, which see them at half resolution; what is left between them and T2 is contrast,
# scanner, patients and how few T2 slices were learnt from, which cannot be told apart here. Far from the midline costs most.

# %% [markdown]
# ## 6.17 Summary

# %% tags=["nbval-ignore-output"]
by_class = tested.groupby("class")["dice"].mean()
near = [100 * (values <= 1).mean() for values in repeated.values()] or [0]
share = 100 * (reference != prediction).mean()
print(f"1. {share:.1f} % of the test pixels are wrong; the weakest structure by slice is {by_class.idxmin()} (Dice {by_class.min():.3f}).")
print(f"2. Of the predicted contours, {min(near):.0f} to {max(near):.0f} % lie within 1 {unit} of the reference, by structure.")
print(f"3. Worst patient: {by_patient.groupby('patient')['dice'].mean().idxmin()}; look at its slices above before trusting a mean.")

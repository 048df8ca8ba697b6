# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
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
# **The question of this notebook: where does the network fail, on which sequences, and why?** Afterwards you can say which structure, which patient and which
# place of the spine go wrong, what the wrong pixels are, and which of the three sequences fails most. First the worst of 622 slices of patients that the
# network had not met. Terms are explained in the [glossary](../docs/glossary.md).

# %%
import numpy as np
from IPython.display import display

from spider_utils import analysis, data, evaluate, figures, present, runs

present.picture("errors_errors_example")

# %% [markdown]
# The worst slice of 30 unseen patients (results of the repository): what is right and wrong, and its wrong pixels by place and by cause.
#
# **Parameters.** `None` stands for what the profile, or the run folder, says. Any other setting can go into `more`.
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source` | `sample`, `phantom`, `released`, `pairs`, `spider`, or some joined by `+` | the data |
# | `data_dir` | a folder | where they lie; the sample and the phantom need none |
# | `run_dir` | a folder | the run's own; `None`: `runs/<source>_<profile>` |
# | `profile` | `smoke`, `cpu`, `paper` | how much is computed: minutes, an hour, a GPU |
# | `more` | a dict | any other setting, such as `{"bootstrap": 200}` |

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
more = None

# %% [markdown]
# ## 6.1 This run: a slice's own score
#
# The run folder is opened; network, predictions and scores are made where they are not there yet. The sections up to 6.5 are about its test patients.
# A slice's score is the mean Dice of the structures that it shows.

# %%
run = runs.open_run(run_dir, source, data_dir, profile, more)
scores, metrics = run.scores()
predicted, rows = run.predictions()
chosen = rows.index[rows["split"] == "test"].to_numpy()
stored = rows.loc[chosen, "row"].to_numpy()
images, reference = run.store().images[stored], run.store().masks[stored]
prediction = predicted[chosen]
tested = scores.table[scores.table["split"] == "test"]
tested = tested[tested["class"].isin(data.FOREGROUND)]
place = ["series", "patient", "sequence", "slice_index"]
slices = tested.groupby(place, sort=False)["dice"].mean().reset_index()
assert (slices[place].to_numpy() == rows.loc[chosen, place].to_numpy()).all()
print("test slices:", len(slices), "| images", images.shape, "| masks", prediction.shape)


# %% [markdown]
# ## 6.2 The best and the worst slices
#
# Green is right, red-orange was predicted and is not there (or is another structure), blue is there and was missed. First of each patient the slice with the
# highest Dice (without those that the next figure shows):

# %% tags=["nbval-ignore-output"]
def overlays(numbers, heading):
    """Draw the slices with these numbers: reference, prediction and errors beside each other."""
    shown = slices.loc[numbers]
    rows = shown.itertuples()
    titles = [f"{one.series}, slice {one.slice_index}: {one.dice:.3f}" for one in rows]
    arrays = images[numbers], reference[numbers], prediction[numbers]
    return figures.overlay_grid(*arrays, titles, heading, source=run.source)


lowest = slices.loc[slices.groupby("patient")["dice"].idxmin()]
worst = lowest.nsmallest(6, "dice").index.to_numpy()
rest = slices.drop(worst) if len(slices) > len(worst) else slices
best = rest.loc[rest.groupby("patient")["dice"].idxmax()].nlargest(6, "dice").index.to_numpy()
figures.keep(overlays(best, "The best slice of each patient, by Dice"), run.figures, "06_best")

# %% [markdown]
# **Figure 6.1** The best slice of up to six test patients. And those that a user would complain about.
#
# **Predict:** will the worst slices lie in the middle of the body or at its sides?

# %% tags=["nbval-ignore-output"]
figure = overlays(worst, "The worst slice of each patient, by Dice")
display(figures.keep(figure, run.figures, "06_worst"))
arrays = images, reference, prediction, slices
figures.show_widget(figures.browse_predictions(*arrays, source=run.source))

# %% [markdown]
# **Figure 6.2** The worst slice of up to six test patients. In the sample they are mainly T2 slices far from the body's middle plane (the *midline*). Below it, where the notebook runs: all of them by hand, the worst first; patient, view and classes
# can be chosen.
#
# ## 6.3 By class, sequence and patient
#
# Mean over slices; with one sequence in the data there is one row. Recall: how much of the structure was found; precision: how much of what was painted is
# right. Then each patient's mean, since a mean over all hides how they differ.

# %% tags=["nbval-ignore-output"]
values = ["dice", "recall", "precision"]
display(tested.pivot_table(index="sequence", columns="class", values=values).round(2))
means = tested.groupby(["patient", "class"])["dice"].mean().reset_index()
figures.keep(figures.scores_by_patient(means, source=run.source), run.figures, "06_by_patient")

# %% [markdown]
# **Figure 6.3** Mean Dice over a patient's slices, worst patient first.
#
# ## 6.4 Which class is taken for which?
#
# Read along a row: where do this structure's pixels go?

# %% tags=["nbval-ignore-output"]
pairs = evaluate.confusion(reference, prediction)
assert pairs.sum() == reference.size and pairs.shape == (4, 4)
figures.keep(figures.confusion_matrix(pairs, source=run.source), run.figures, "06_confusion")

# %% [markdown]
# **Figure 6.4** Confusion matrix of the test pixels, each row in percent. In the sample most wrong pixels change places with the background, few with another structure.
#
# ## 6.5 How far off is the contour?
#
# Distances from each pixel of the predicted contour to the reference's, by structure. What was missed altogether is not in them.

# %% tags=["nbval-ignore-output"]
distances = scores.distances.merge(tested[["class", "unit"]], left_on="row", right_index=True)
unit = tested["unit"].mode()[0]  # mm, or px where most slices do not know their pixel size
inward = distances[(distances["direction"] == "prediction") & (distances["unit"] == unit)]
sides = {name: inward[inward["class"] == name] for name in data.FOREGROUND}
repeated = {name: np.repeat(part["distance"], part["count"]) for name, part in sides.items()}
repeated = {name: values.to_numpy() for name, values in repeated.items() if len(values)}
for name, values in repeated.items():
    print(f"{name}: {100 * (values <= 1).mean():.0f} % within 1 {unit}")
missing = "No predicted contour meets one of the reference, so there are no distances."
drawn = figures.distance_histogram(repeated, unit, source=run.source) if repeated else None
figures.keep(drawn, run.figures, "06_distances") if repeated else missing

# %% [markdown]
# **Figure 6.5** Boundary distances; the last bin holds everything beyond the 99th percentile.
#
# ## 6.6 Thirty patients: which structure fails?
#
# From here on: results of the repository, whatever data this run has. The study `errors` trains the shipped combination of network, loss and augmentation on
# two thirds of 30 patients (622 T2 SPACE slices) and segments the rest, three times, so that each patient is segmented by a network that had not met it. One
# seed, small networks; intervals are bootstrapped over patients.
#
# **Predict:** which structure is the hardest, the large vertebrae, the long canal or the thin discs?

# %%
print(present.command("errors"))
display(present.picture("errors_errors_groups"))
present.tell(
    "**Figure 6.6** Dice by class, by the slice's place in its series, by the structure's size in "
    "the slice, and by field strength.\n\nMean over patients: vertebrae {unseen_vertebrae}, canal "
    "{unseen_canal}, **discs {unseen_discs}**. Discs come out lowest, and they are the thinnest: "
    "one that is a pixel thinner all around already has a Dice of {eroded_discs}. The canal is "
    "found worse at the sides ({side_canal_first} and {side_canal_last}) than in the middle third "
    "({side_canal_middle}), and worse where it is small ({small_canal}) than where it is large "
    "({large_canal}): a small canal is one that the slice only grazes, so place and size say in "
    "part the same. Field strengths cannot be compared: all patients but one have the same."
)

# %% [markdown]
# ## 6.7 Where do the wrong pixels sit, and why are they wrong?
#
# Each wrong pixel belongs to one region (*posterior elements*: the vertebra's arch and processes, behind the canal) and has one cause, the first that fits.
# *Reference error*: what an audit of the reference suspects (discs drawn without the gap to the vertebra, a missing top vertebra, specks). Then *wrong class*;
# *missed part* and *extra island* (pieces that do not meet the other mask); *outgrowth* (a bulge or bite deeper than an edge); what is left is *boundary*.

# %%
display(present.picture("errors_errors_where"))
present.tell(
    "**Figure 6.7** The wrong pixels by region.\n\nThe posterior elements hold {where_posterior} "
    "of all wrong pixels, the contact of disc and vertebra {where_contact}, the canal's walls "
    "{where_walls}. Most errors are near an edge: {within_1} lie within one pixel of the "
    "reference's contour, {within_2} within two."
)

# %%
display(present.picture("errors_errors_causes"))
present.tell(
    "**Figure 6.8** The wrong pixels by cause.\n\nAbout half of the error is a line drawn a "
    "little differently (boundary {cause_boundary}). Real mistakes are missed parts "
    "({cause_missed}) and outgrowths ({cause_outgrowth}); the wrong class is rare "
    "({cause_class}). The reference itself is suspected of {cause_reference}: {reference_top} of "
    "its {reference_series} series lack the vertebra at the upper edge (notebook 2), and single "
    "slices of more patients are suspected of it."
)

# %% [markdown]
# ## 6.8 Does degeneration matter?
#
# Discs are graded by Pfirrmann from 1 (healthy) to 5 (collapsed). Each disc is scored alone, over its slices. Below two averages stand beside each other: over the
# discs, and over patients (of each patient's mean), in which a patient with many worn discs counts once. The study reports the one over patients.

# %%
discs = present.table("errors/errors_by_disc").rename(columns={"Pfirrman grade": "grade"})
discs = discs[discs["structure"] == "disc"].dropna(subset="grade").astype({"grade": int})
grades = discs.groupby("grade").agg(
    discs=("dice", "size"), patients=("patient", "nunique"), over_discs=("dice", "mean")
)
own = discs.groupby(["grade", "patient"])["dice"].mean()
display(grades.assign(over_patients=own.groupby("grade").mean()).round(3))
present.picture("errors_errors_pathology")

# %%
print(analysis.pathology_statement(present.table("errors/errors_pathology")))
present.tell(
    "**Figure 6.9** What a finding changes in the Dice of the disc and of the vertebra above it, "
    "within patients.\n\nGrade 5: {worn_dice_interval}, mean over {worn_patients} patients with "
    "{worn_discs} such discs; beside the same patients' other discs {worn_adjusted_interval}. A "
    "collapsed disc is thin, which lowers its Dice by itself. Findings were looked "
    "at without a correction for their number, so some intervals may leave out 0 by chance."
)

# %% [markdown]
# ## 6.9 The ten worst slices
#
# **Predict:** do they come from ten patients?

# %%
table = present.table("errors/errors_worst")
columns = ["patient", "slice_index", "dice", "worst", "region", "cause", "cause_share"]
display(table[columns].round(2))
print("patients:", table["patient"].nunique(), "|", table.loc[0, "sentence"])
present.picture("errors_errors_worst")

# %% [markdown]
# **Figure 6.10** The ten worst slices. They come from few patients. The table says which class is worst in each, and what the largest cause is: the reference itself in one patient.
#
# ## 6.10 Does the network know when it fails?
#
# Calibration: of the pixels to which the network gives a probability of 0.8, are 80 % right? And does an uncertainty that needs no reference (one minus the Dice
# that the network's own probabilities promise) put the bad slices first? The AUROC is the chance that it is higher on a bad slice than on another one.

# %%
display(present.picture("errors_uncertainty"))
present.tell(
    "**Figure 6.11** Uncertainty against the slice's true Dice.\n\nIts probabilities are off by "
    "{ece} on average, by {ece_near} near the structures. Its own uncertainty tells the worst "
    "tenth of the slices from the rest with an AUROC of {uncertainty_auroc} (one half is chance): "
    "the fifth of the slices that is most uncertain holds {uncertainty_found} of the worst tenth."
)

# %% [markdown]
# ## 6.11 Which sequence fails most?
#
# One network that has learnt from all three sequences (study `all_sequences`), on patients that it had not met. Far from the midline a slice shows no canal:
# there the mean of three is not told. Pooled Dice:

# %%
table = present.table("all_sequences/by_sequence").query("aggregation == 'pooled'")
groups = ["sequence", "position", "slices", "patients"]
shown = table.pivot_table(index=groups, columns="class", values="value", sort=False)
display(shown[[*data.FOREGROUND, "foreground"]].round(3))
present.picture("sequences_worst")

# %%
present.tell(
    "**Figure 6.12** The worst T1 and T2 slices of the network that has learnt from T2 SPACE "
    "alone: structures that are invented or lost far from the midline, a canal that is cut "
    "off.\n\n**T2 scores lowest, above all far from the midline,** where it alone has slices: on "
    "vertebrae and discs those "
    "without canal score {step_lateral} beside those with canal. Where the canal is seen, T2 has "
    "{one_t2_interval} ({t2_canal_slices} slices), T1 {one_t1_interval} ({t1_slices} slices) and "
    "T2 SPACE {one_space_interval}: with so few slices of T1 and T2, T1's interval meets both "
    "others."
)

# %% [markdown]
# **Why? Is it resolution?** The paper says that T2 SPACE does best for its resolution. The study `resolution` makes its slices as coarse as T2's, in pixel and
# thickness, and segments them with the same networks.
#
# **Predict:** how much Dice does that cost?

# %%
display(present.picture("resolution_resolution"))
present.tell(
    "**Figure 6.13** Left: T2 SPACE made coarser, beside T1 and T2. Right: what each step "
    "changes, from T2 SPACE as it is to T2 far from the midline.\n\nMade as coarse as T2, T2 "
    "SPACE changes by {step_resolution}: it scores no lower, so **resolution is not shown to be "
    "the reason** (these networks see slices at half size). From there to T2 with canal it is "
    "{step_contrast}. That step holds the contrast, the scanner, other patients, and how few T2 "
    "slices were learnt from ({t2_slices} with masks in all, beside {space_slices} of T2 SPACE): "
    "these **cannot be told apart** here."
)

# %% [markdown]
# ## 6.12 Exercises
#
# 1. Which test patient's discs are worst, all the patient's pixels pooled?
# 2. Shift a reference mask down by one pixel and take it for a prediction. What share of the wrong pixels lies within 1 pixel of the reference's contour? And by 6 pixels?
# 3. Compute each structure's recall from the confusion matrix of 6.4.

# %% tags=["solution", "nbval-ignore-output", "hide-cell"]
# Solution 1: sums of TP, FP and FN by patient
sums = tested[tested["class"] == "discs"].groupby("patient")[["tp", "fp", "fn"]].sum()
pooled = 2 * sums["tp"] / (2 * sums["tp"] + sums["fp"] + sums["fn"])
last, own = pooled.idxmin(), (slices["patient"] == pooled.idxmin()).to_numpy()
disc = data.CLASSES.index("discs")
true, found = reference[own] == disc, prediction[own] == disc
assert np.isclose(pooled.min(), 2 * (true & found).sum() / (true.sum() + found.sum()))
print(f"patient {last}: {pooled.min():.3f}")

# %% tags=["solution", "hide-cell"]
# Solution 2: wrong is where the shifted mask differs, near where a neighbour is of another kind
mask = reference[0] == data.CLASSES.index("vertebrae")
shares = {}
for shift in (1, 6):
    moved = np.roll(mask, shift, axis=0)
    wrong = moved != mask
    near = np.zeros_like(mask)
    for step, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        near |= np.roll(mask, step, axis) != mask
    shares[shift] = (wrong & near).sum() / wrong.sum()
assert shares[1] == 1 and shares[6] < 0.6
print({shift: f"{100 * share:.0f} %" for shift, share in shares.items()})

# %% tags=["solution", "nbval-ignore-output", "hide-cell"]
# Solution 3: the diagonal over the row's sum
recall = np.diag(pairs) / pairs.sum(axis=1)
sums = tested.groupby("class")[["tp", "fn"]].sum().loc[list(data.FOREGROUND)]
assert np.allclose(recall[1:], sums["tp"] / (sums["tp"] + sums["fn"]))
print(dict(zip(data.FOREGROUND, recall[1:].round(3).tolist(), strict=True)))

# %% [markdown]
# ## 6.13 Summary
#
# Results of the repository, on patients that the networks had not met; small networks, one seed.

# %%
present.tell(
    "1. **Which structure:** discs ({ours_discs}, pooled) before canal ({ours_canal}) and "
    "vertebrae ({ours_vertebrae}) on T2 SPACE; half of the error is a line drawn a little "
    "differently ({cause_boundary}).\n2. **Where:** behind "
    "the canal, in the vertebra's posterior elements ({where_posterior} of the wrong pixels), and "
    "in collapsed discs (Pfirrmann 5: {worn_adjusted_interval} beside the patient's other "
    "discs).\n3. **Which sequence:** T2 scores lowest, above all far from the midline "
    "({step_lateral} on vertebrae and discs); with canal it is not shown to differ from T1.\n4. "
    "**Why:** not shown to be resolution "
    "({step_resolution}); contrast, scanner, patients and few T2 slices in training cannot be "
    "told apart.\n5. **Does it know:** mostly. The most uncertain fifth of the slices holds "
    "{uncertainty_found} of the worst tenth."
)

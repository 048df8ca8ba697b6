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
# [![Run in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPOSITORY/blob/main/notebooks/06_error_analysis.ipynb)
#
# # 6 Error analysis
#
# **The question of this notebook: where does the network fail, and does the failure have a pattern?** Masks over the MRI, the worst slices, and
# the scores by class, sequence, patient and position.

# %% [markdown] tags=["colab"]
# On Colab this cell installs the package beside Colab's own torch and names the GPU; `drive=True` keeps data and runs in Google Drive, so that a run which Colab cuts off goes on. Anywhere else it does nothing.

# %% tags=["colab"]
import sys

if "google.colab" in sys.modules:
    # %pip install --quiet "spider_utils @ git+https://github.com/OWNER/REPOSITORY"
    from spider_utils import colab

    colab.setup(drive=False)

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "phantom"  # phantom | released | spider
data_dir = None  # folder of the data; None: the phantom is made in the run folder
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper

# %%
from spider_utils.runs import open_run
from spider_utils.style import keep

run = open_run(run_dir, source, data_dir, profile)
scores, metrics = run.scores()
masks, table = run.predictions()
print("predicted slices:", masks.shape, masks.dtype)

# %% [markdown]
# ## 6.1 A slice's own score
#
# From here on only the test patients. A slice's score is the mean Dice of its three structures.

# %%
from spider_utils.labels import FOREGROUND

chosen = table.index[table["split"] == "test"].to_numpy()
store = run.store()
images, reference = (array[table.loc[chosen, "row"].to_numpy()] for array in (store.images, store.masks))
prediction = masks[chosen]
tested = scores.table[(scores.table["split"] == "test") & scores.table["class"].isin(FOREGROUND)]
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
from spider_utils.figures_results import overlay_grid


def overlays(numbers, heading):
    """Draw the slices with these numbers: reference, prediction and errors beside each other."""
    rows = slices.loc[numbers]
    titles = [f"{row.series}, slice {row.slice_index}: Dice {row.dice:.3f}" for row in rows.itertuples()]
    arrays = (images[numbers], reference[numbers], prediction[numbers])
    return overlay_grid(*arrays, titles, heading, source=run.source)


# %% [markdown]
# Of each patient the slice with the highest Dice:

# %% tags=["nbval-ignore-output"]
best = slices.loc[slices.groupby("patient")["dice"].idxmax()].nlargest(6, "dice").index.to_numpy()
keep(overlays(best, "The best slice of each patient"), run.figures, "06_best")

# %% [markdown]
# **Figure 6.1** The best slice of up to six test patients.

# %% [markdown]
# ## 6.3 The worst slices
#
# And the ones that a user would complain about: the worst slice of each patient, worst first.

# %% tags=["nbval-ignore-output"]
worst = slices.loc[slices.groupby("patient")["dice"].idxmin()].nsmallest(6, "dice").index.to_numpy()
keep(overlays(worst, "The worst slice of each patient"), run.figures, "06_worst")

# %% [markdown]
# **Figure 6.2** The worst slice of up to six test patients. The very worst one, larger:

# %% tags=["nbval-ignore-output"]
from spider_utils.figures_results import error_overlay

one = worst[0]
title = f"{slices.loc[one, 'series']}, slice {slices.loc[one, 'slice_index']}: Dice {slices.loc[one, 'dice']:.3f}"
keep(error_overlay(images[one], reference[one], prediction[one], title, source=run.source), run.figures, "06_worst_one")

# %% [markdown]
# **Figure 6.3** The worst test slice. By hand, all of them, the worst first:

# %% tags=["nbval-ignore-output"]
from spider_utils.widgets import browse_predictions, show_widget

show_widget(browse_predictions(images, reference, prediction, slices, source=run.source))

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
from spider_utils.figures_results import confusion_matrix
from spider_utils.metrics import confusion

pairs = confusion(reference, prediction)
keep(confusion_matrix(pairs, source=run.source), run.figures, "06_confusion")

# %% [markdown]
# **Figure 6.4** Confusion matrix of the test pixels, each row in percent.

# %%
assert pairs.sum() == reference.size and pairs.shape == (4, 4)

# %% [markdown]
# ## 6.6 By patient
#
# A mean over slices hides differences between patients.

# %% tags=["nbval-ignore-output"]
from spider_utils.figures_results import scores_by_patient

by_patient = tested.groupby(["patient", "class"])["dice"].mean().reset_index()
keep(scores_by_patient(by_patient, source=run.source), run.figures, "06_by_patient")

# %% [markdown]
# **Figure 6.5** Mean Dice over a patient's slices, worst patient first.

# %% [markdown]
# ## 6.7 By position in the series
#
# Towards the sides a slice shows less of the canal, and vertebrae where they are thin.

# %% tags=["nbval-ignore-output"]
from spider_utils.figures_results import scores_by_position
from spider_utils.scores import lateral_position

placed = tested.assign(position=(lateral_position(tested) + 1) / 2)
keep(scores_by_position(placed, source=run.source), run.figures, "06_by_position")

# %% [markdown]
# **Figure 6.6** Dice against the slice's place in its series, from the first kept slice to the last.

# %% [markdown]
# ## 6.8 How far off is the contour?
#
# Distances from each pixel of the predicted contour to the nearest reference contour, by structure. They step by pixels, and what was missed
# altogether is not in them.

# %% tags=["nbval-ignore-output"]
import numpy as np

from spider_utils.figures_results import distance_histogram

distances = scores.distances.merge(tested[["class", "unit"]], left_on="row", right_index=True)
unit = tested["unit"].iloc[0]
inward = distances[(distances["direction"] == "prediction") & (distances["unit"] == unit)]
repeated = {name: np.repeat(part["distance"], part["count"]).to_numpy() for name, part in inward.groupby("class")}
repeated = {name: repeated[name] for name in FOREGROUND if name in repeated}  # without what was never predicted
missing = "No predicted contour meets one of the reference, so there are no distances."
keep(distance_histogram(repeated, unit, source=run.source), run.figures, "06_distances") if repeated else missing

# %% [markdown]
# **Figure 6.7** Boundary distances; the last bin holds everything beyond the 99th percentile.

# %% [markdown]
# ## 6.9 Summary

# %% tags=["nbval-ignore-output"]
by_class = tested.groupby("class")["dice"].mean()
near = [100 * (values <= 1).mean() for values in repeated.values()] or [0]
share = 100 * (reference != prediction).mean()
print(f"1. {share:.1f} % of the test pixels are wrong; the weakest structure by slice is {by_class.idxmin()} (Dice {by_class.min():.3f}).")
print(f"2. Of the predicted contours, {min(near):.0f} to {max(near):.0f} % lie within 1 {unit} of the reference, by structure.")
print(f"3. Worst patient: {by_patient.groupby('patient')['dice'].mean().idxmin()}; look at its slices above before trusting a mean.")

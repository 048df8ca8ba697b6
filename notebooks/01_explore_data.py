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
# # 1 Explore the data
#
# **The question of this notebook: what lies in the data before anything is done to it?** What a lumbar spine looks like on T1, T2 and T2 SPACE,
# how many series there are of each, how large a pixel is, what values the masks hold, and how unequal the classes are.

# %% [markdown]
# Parameters. `sample` is real: 209 slices of 40 patients of SPIDER (van der Graaf et al. 2024, CC BY 4.0) that come with the package. `released`,
# `pairs` and `spider` are real and need a folder: `!python -m spider_utils download --source released --out data/released` fetches 180 MB of
# slices. `phantom` is synthetic. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper
patients = None  # of the phantom
phantom_seed = None  # of the phantom

# %% [markdown]
# A *run folder* keeps everything that the notebooks make; each of them opens the same one.

# %%
from spider_utils import data, runs, figures

run = runs.open_run(run_dir, source, data_dir, profile, patients=patients, phantom_seed=phantom_seed)
print("source:", run.source, "| profile:", run.profile)

# %% [markdown]
# ## 1.1 Series by sequence and subset
#
# A *series* is one MRI volume of one patient, or some slices of it, with masks where there are any. One pass over all of them gives a table.

# %%
table = run.survey()
table[["series", "sequence", "subset", "slices", "height", "width", "pixel_mm_row", "slice_mm"]].head().round(2)

# %% [markdown]
# The subset is SPIDER's own, and by patient (the phantom deals its own). `T2 SPACE` is the rare one: in SPIDER 41 of 447 series. Of it the sample
# has runs of neighbouring slices, of T1 and T2 mostly single ones.

# %%
figures.keep(figures.series_counts(table, source=run.source), run.figures, "01_series_counts")

# %% [markdown]
# **Figure 1.1** Series by sequence and subset.

# %% [markdown]
# ## 1.2 How large is a pixel?
#
# In SPIDER most T1 and T2 slices are 3.3 to 4.8 mm apart (17 T2 series: 1 mm) with a median pixel of 0.63 mm; T2 SPACE has pixels of 0.47 mm and
# slices of 0.9 mm. In the sample slices are smaller, 320 rows at most, so their pixels are larger. The T2 SPACE slices come from PNG files that no longer
# say how large their pixels are: distances on them can only be given in pixels, and they are not in Figure 1.2.

# %%
spacing = table.groupby("sequence")[["pixel_mm_row", "slice_mm", "slices"]].median().round(2)
spacing

# %%
figures.keep(figures.spacing_scatter(table, source=run.source), run.figures, "01_spacing")


# %% [markdown]
# **Figure 1.2** Pixel size and distance of slices.

# %% [markdown]
# ## 1.3 Three sequences
#
# On T1 fat is bright and the fluid around the nerves dark; on T2 the fluid is bright; T2 SPACE has T2's contrast in slices four times as thin. All
# slices are in one pose: the front at the left, the head at the top.

# %%
def aspect_of(stack):
    """Row over column spacing; 1 where it is not known."""
    return stack.pixel_mm[0] / stack.pixel_mm[1] if stack.pixel_mm else 1.0


# %%
import numpy as np

series = {one.name: one for one in run.series()}
chosen = []
for _, part in table.sort_values(["n_canal", "n_vertebrae"], ascending=False).groupby("sequence"):
    lateral = part[part["n_canal"] == 0].sort_values("n_vertebrae", ascending=False)
    chosen += [*part["series"].iloc[:2], *lateral["series"].iloc[:1]]
chosen = chosen[:6]  # as many as fit side by side
print(chosen)

# %%
stacks = {name: data.read_stack(series[name]) for name in chosen}
middle = {name: len(stack.image) // 2 for name, stack in stacks.items()}
images = [stack.image[middle[name]] for name, stack in stacks.items()]
classes = [stack.classes()[middle[name]] for name, stack in stacks.items()]
titles = [f"{figures.spoken(series[name].sequence)}: patient {series[name].patient}" for name in stacks]
aspects = [aspect_of(stack) for stack in stacks.values()]
grid = figures.slice_grid(images, classes, titles, source=run.source, heading="T1, T2 and T2 SPACE", aspect=aspects)
figures.keep(grid, run.figures, "01_sequences")

# %% [markdown]
# **Figure 1.3** The sequences side by side, the classes painted over the MRI. One T2 slice lies beside the canal: it shows vertebrae and discs alone.
#
# ## 1.4 Neighbouring slices
#
# Slices run from the patient's right to the left (from PNG files, nothing says which side is first). One T2 SPACE series:

# %%
name = table.loc[table["sequence"] == "T2_SPACE", "series"].iloc[0]
stack = data.read_stack(series[name])
print(name, "| (slices, rows, columns):", stack.image.shape, "| pixel in mm:", stack.pixel_mm)

# %% [markdown]
# Slices of it, evenly spaced:

# %%
classes = stack.classes()
shown = np.linspace(0, len(stack.image) - 1, 10).round().astype(int)[1:-1]
aspect = aspect_of(stack)
titles = [f"slice {stack.index[k]}" for k in shown]
grid = figures.slice_grid(stack.image[shown], classes[shown], titles, source=run.source, heading=f"{name}, slices in order", aspect=aspect)
figures.keep(grid, run.figures, "01_slices")

# %% [markdown]
# **Figure 1.4** Slices in stored order. A whole volume has the canal only near its middle; the released slices, and the sample's, are the middle only.
#
# The same by hand: move the slice, fade the overlay, switch classes on and off.

# %% tags=["nbval-ignore-output"]
figures.show_widget(figures.browse(stack.image, classes, source=run.source, aspect=aspect))

# %% [markdown]
# ## 1.5 What values do the masks hold?
#
# SPIDER numbers structures: vertebrae 1, 2, 3 … from the bottom up (L5 is 1), the canal 100, the disc under vertebra *n* 200 + *n*. The
# released PNG masks hold grey codes instead: 0 background, 76 vertebrae, 150 canal, 29 discs; the sample's the classes 0 to 3.

# %%
values = data.label_lists(table)
for one in list(values)[:3]:
    print(one, values[one])

# %%
figures.keep(figures.label_values(values, stack.coding, source=run.source), run.figures, "01_label_values")

# %% [markdown]
# **Figure 1.5** One row a series, one column a value, coloured by the class it becomes.

# %% [markdown]
# ## 1.6 How unequal are the classes?
#
# Most of a slice is background. This *class imbalance* is why the paper's loss has a focal and a Dice part (notebook 3).

# %%
counts = table.groupby("sequence")[[f"n_{name}" for name in data.CLASSES]].sum()
share = counts.div(counts.sum(axis=1), axis=0).mul(100).round(1)
share.rename(columns=lambda column: column.removeprefix("n_") + " %")

# %%
figures.keep(figures.class_balance(table, source=run.source), run.figures, "01_class_balance")

# %% [markdown]
# **Figure 1.6** Share of all pixels (left) and of the foreground (right).

# %% [markdown]
# ## 1.7 What the radiologists recorded
#
# SPIDER and the phantom come with a grading of each disc, slices do not. We only count the findings here.

# %%
if (run.data_dir / data.GRADINGS).is_file():
    gradings = data.read_gradings(run.data_dir)
    findings = ["Spondylolisthesis", "Disc herniation", "Disc narrowing", "Disc bulging"]
    print(f"{len(gradings)} discs of {gradings['Patient'].nunique()} patients")
    print((gradings[findings] > 0).sum().to_string())
else:
    print("No gradings lie beside this data.")

# %% [markdown]
# ## 1.8 Summary

# %%
patients_found, sequences = table["patient"].nunique(), [figures.spoken(s) for s in table["sequence"].unique()]
background = 100 * counts["n_background"].sum() / counts.to_numpy().sum()
print(f"1. {len(table)} series of {patients_found} patients: {', '.join(sorted(sequences))}.")
print(f"2. {len(values)} series have masks; their values become four classes.")
print(f"3. {background:.0f} % of all pixels are background.")

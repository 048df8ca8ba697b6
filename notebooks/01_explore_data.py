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
# # 1 Explore the data
#
# **The question of this notebook: what lies in the data before anything is done to it?** Afterwards you can say what T1, T2 and T2 SPACE are and why
# they look different, what a series, a slice and its spacing are, what the values of a mask mean, and why a program that finds nothing at all is still
# right at most pixels.

# %%
from spider_utils import present

present.picture("readme_hero", width=1000)

# %% [markdown]
# **Figure 1.1** Three patients, seen from the side: head at the top, belly at the left. Each slice of MRI stands beside its *mask*, in which people have
# marked vertebrae, spinal canal and discs, pixel by pixel. To make such a mask is *segmentation*, and what this course teaches a network to do.
#
# Two names stand everywhere. *SPIDER* is a public set of lumbar MRI with such masks, from four hospitals (van der Graaf et al. 2024). *The paper* is Ahmed et al. (2025):
# it trains a U-Net on slices of SPIDER, and this course rebuilds it. *Released* are the T2 SPACE slices that its authors published, *pairs* other slices with masks.
#
# ## Parameters
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source` | `sample`, `released`, `pairs`, `spider`, `phantom`, or some joined by `+` | which data: `sample` is real and comes with the package, `phantom` is synthetic, the others need a folder |
# | `data_dir` | a folder, or None | where the data lie; the sample and the phantom need none |
# | `run_dir` | a folder, or None | what the notebooks make is kept here; None: `runs/<source>_<profile>` |
# | `profile` | `smoke`, `cpu`, `paper` | all other settings: minutes on two cores, an hour, the paper's for a GPU |
# | `more` | a dictionary, or None | any other setting, `{"patients": 5}`; the names are those of `spider_utils/runs/profiles` |
#
# None means: what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
more = None

# %%
from spider_utils import data, figures, runs

run = runs.open_run(run_dir, source, data_dir, profile, more)
print("source:", run.source, "| profile:", run.profile)

# %% [markdown]
# ## 1.1 Series and slices
#
# One MRI measurement of one patient is a *series*: a stack of parallel pictures, the *slices*. Ours are *sagittal*, cuts along the body from front to back.
# Together they are a volume, an array of shape (slices, rows, columns). Its *spacing* is how many mm lie between two
# pixels in a slice and between two slices; its *orientation* says which way of the array is left, front and head.
#
# One pass over all series gives a table, a row a series:

# %%
table = run.survey()
shown = ["series", "sequence", "slices", "height", "width", "pixel_mm_row", "slice_mm"]
table[shown].groupby("sequence").head(2).round(2).reset_index(drop=True)

# %% [markdown]
# NaN stands where nobody has stored a size: the T2 SPACE slices came as PNG files, which have pixels but no mm. Of T2 SPACE
# the sample has runs of neighbouring slices, of T1 and T2 mostly single ones.

# %%
figures.keep(figures.series_counts(table, source=run.source), run.figures, "01_series_counts")

# %% [markdown]
# **Figure 1.2** Series by sequence and by SPIDER's own subset, which keeps all series of a patient together.

# %%
present.tell(
    "SPIDER itself has {spider_scans} series of {spider_patients} patients: {spider_t1} T1, "
    "{spider_t2} T2 and only {spider_space} T2 SPACE. The paper's best results are on the latter."
)

# %% [markdown]
# ## 1.2 T1, T2 and T2 SPACE
#
# A scanner makes the hydrogen of water and fat send radio waves and listens to how they fade. What is bright depends on the *sequence*, the timing of pulses
# and listening:
#
# | sequence | how it is acquired | bright | dark |
# | --- | --- | --- | --- |
# | **T1** | slice by slice (2D), pulses in quick succession, listened to early | fat: marrow of the vertebrae, under the skin | fluid in the canal |
# | **T2** | slice by slice (2D), long pauses, listened to late | fluid in the canal, healthy discs (they hold water), fat too | worn discs, ligaments |
# | **T2 SPACE** | the whole volume at once (3D), the contrast of T2 | as T2 | as T2 |
#
# In 2D each slice sends its own signal, and a thin slice sends little: so slices are thick, with gaps between. In 3D every pulse excites the
# whole volume, and each measurement adds to all of it: slices may be thin without drowning in noise. The price is minutes in the scanner.
#
# **Predict:** in which of the three is the edge between canal and disc easiest to see?

# %%
import numpy as np

series = {one.name: one for one in run.series()}
ordered = table.sort_values(["n_canal", "n_vertebrae"], ascending=False)
best = ordered.groupby("sequence").head(2).sort_values("sequence", kind="stable")
chosen = best["series"].tolist()[:6]
stacks = [data.read_stack(series[name]) for name in chosen]
for name, stack in zip(chosen, stacks, strict=True):
    print(f"{name:<13} (slices, rows, columns): {stack.image.shape}")

# %%
pictures = [stack.image[len(stack.image) // 2] for stack in stacks]
found = [series[name] for name in chosen]
titles = [f"{figures.spoken(one.sequence)}\npatient {one.patient}" for one in found]
look = {"heading": "T1, T2 and T2 SPACE", "aspect": [stack.aspect for stack in stacks]}
grid = figures.slice_grid(pictures, [None] * len(pictures), titles, source=run.source, **look)
figures.keep(grid, run.figures, "01_sequences")

# %% [markdown]
# **Figure 1.3** Two patients of each sequence, without masks. On T2 and T2 SPACE the bright canal ends sharply at the dark rim of a disc; on T1 both are dark.
#
# ## 1.3 How large is a pixel, how thick is a slice?
#
# The headers of SPIDER's 360 training volumes tell it; the package has a list of them:

# %%
import pandas as pd

grids = [(name, one) for name, many in data.spider_geometries().items() for one in many]
spacing = pd.DataFrame({"sequence": [name for name, _ in grids]})
spacing["slices"] = [one.shape[0] for _, one in grids]
spacing["pixel_mm_row"] = [one.spacing_mm[1] for _, one in grids]
spacing["slice_mm"] = [one.spacing_mm[0] for _, one in grids]
spacing.groupby("sequence").median().round(3)

# %%
figures.keep(figures.spacing_scatter(spacing, source="spider"), run.figures, "01_spacing")

# %% [markdown]
# **Figure 1.4** Pixel size and distance of slices in SPIDER's training volumes. T1 and T2 are sharp within a slice and coarse across; T2 SPACE is about half
# as fine across as within.

# %%
present.tell(
    "SPIDER's own list covers all {spider_scans} series. Its medians: T1 has pixels of {t1_pixel}, "
    "slices {t1_thickness} thick and {t1_distance} apart; T2 SPACE has pixels of {space_pixel}, "
    "slices {space_thickness} thick and {space_distance} apart. (The headers of the T2 SPACE "
    "volumes, in the table above, give {space_thickness} for the distance, too.)"
)

# %% [markdown]
# ## 1.4 Neighbouring slices
#
# All slices are shown in one pose: front at the left, head at the top. From one to the next we step from the patient's right to the left (PNG files do not
# say which side is first). Here is one T2 SPACE series, slice by slice, with its mask.
#
# **Predict:** how much does the mask change from one slice to the next?

# %%
space = table[table["sequence"] == "T2_SPACE"] if "T2_SPACE" in set(table["sequence"]) else table
name = space["series"].iloc[0]
stack = data.read_stack(series[name])
classes = stack.classes()
kept = np.linspace(0, len(stack.image) - 1, 8).round().astype(int)
titles = [f"slice {stack.index[k]}" for k in kept]
look = {"heading": f"{name}, slices in order", "aspect": stack.aspect}
grid = figures.slice_grid(stack.image[kept], classes[kept], titles, source=run.source, **look)
figures.keep(grid, run.figures, "01_slices")

# %% [markdown]
# **Figure 1.5** Eight slices of one series, in order. Bodies of vertebrae, discs and canal hardly change; the *posterior elements* (the bony parts behind the
# canal) come and go. [Notebook 2](02_preprocess.ipynb) measures what that does to a score.
#
# The same by hand: move the slice, fade the mask, switch classes on and off.

# %% tags=["nbval-ignore-output"]
figures.show_widget(figures.browse(stack.image, classes, source=run.source, aspect=stack.aspect))

# %% [markdown]
# ## 1.5 What do the values of a mask mean?
#
# A mask is an array as large as the slices, an integer a pixel. SPIDER numbers every structure: vertebrae 1, 2, 3 … from the bottom up (1 is L5, the lowest),
# the canal 100, the disc under vertebra *n* 200 + *n*. The paper makes four *classes* of them:
#
# | class | name | SPIDER's numbers | released PNG files | sample |
# | --- | --- | --- | --- | --- |
# | 0 | background | 0 | 0 | 0 |
# | 1 | vertebrae | 1 to 99, 101 to 125 | 76 | 1 |
# | 2 | canal | 100 | 150 | 2 |
# | 3 | discs | 201 to 225 | 29 | 3 |
#
# So a prediction says "disc", not "the disc under L4": which one it is must be counted afterwards.

# %%
values = data.label_lists(table)
figure = figures.label_values(values, stack.coding, source=run.source)
figures.keep(figure, run.figures, "01_label_values")

# %% [markdown]
# **Figure 1.6** One row a series, one column a value, coloured by the class that it becomes. White: no such value in that series, as the canal in a slice that lies
# beside it.

# %%
present.tell(
    "In SPIDER's own numbers {sixteen_series} of the {spider_scans} series hold "
    "{sixteen_vertebrae} vertebrae, {sixteen_discs} discs, the canal and the background. "
    "That makes {sixteen_labels} values, the '16 classes' of the paper's text."
)

# %% [markdown]
# ## 1.6 How unequal are the classes?
#
# With $n_c$ pixels of class $c$, its share is
#
# $$w_c = \frac{n_c}{\sum_k n_k}$$
#
# and the *imbalance* of two classes is the ratio of their shares. *Accuracy* is the share of pixels that are right:
#
# $$\text{accuracy} = \frac{\text{pixels with the right class}}{\text{all pixels}}$$
#
# **Predict:** what accuracy has a program that calls every pixel background?

# %%
counts = table.groupby("sequence")[[f"n_{name}" for name in data.CLASSES]].sum()
share = counts.div(counts.sum(axis=1), axis=0)
share.columns = [f"{name} %" for name in data.CLASSES]
share.mul(100).round(1)

# %%
figures.keep(figures.class_balance(table, source=run.source), run.figures, "01_class_balance")

# %% [markdown]
# **Figure 1.7** Share of all pixels (left) and of the *foreground*, all but the background (right).
#
# The program that sees nothing has the accuracy of the first column, and finds no disc at all. So accuracy says little here; scores are counted class by
# class ([notebook 2](02_preprocess.ipynb)), and a part of the *loss* (what training makes smaller) counts each class alike ([notebook 3](03_model.ipynb)).
#
# ## 1.7 What the radiologists recorded
#
# SPIDER, and the PHANTOM that imitates it, come with a grading of every disc; slices do not. It is read where it is there.

# %%
if (run.data_dir / data.GRADINGS).is_file():
    gradings = data.read_gradings(run.data_dir)
    findings = ["Spondylolisthesis", "Disc herniation", "Disc narrowing", "Disc bulging"]
    print(f"{len(gradings)} discs of {gradings['Patient'].nunique()} patients")
    print((gradings[findings] > 0).sum().to_string())
else:
    print("No gradings lie beside this data; notebook 6 has what SPIDER's tell about errors.")

# %% [markdown]
# ## 1.8 Exercises
#
# 1. A vertebral body is about 28 mm high. How many T2 SPACE pixels is that, and how many T1 pixels, by the medians of section 1.3?
# 2. Count the pixels of the series of Figure 1.5 by class, from its mask alone. Do they agree with the survey's table?
# 3. Which class is the rarest of the foreground on T2 SPACE (or on what your data hold), and how many background pixels come on one of its pixels?

# %% tags=["solution", "hide-cell"]
# Solution 1: millimetres divided by millimetres a pixel
pixel = spacing.groupby("sequence")["pixel_mm_row"].median()
rows = (28 / pixel).round().astype(int)
listed = present.table("spider_series").set_index("sequence")["pixel_mm"]
assert np.allclose(pixel["T2_SPACE"], listed["T2_SPACE"])
print(rows.to_dict())

# %% tags=["solution", "hide-cell"]
# Solution 2: np.unique counts the values of the mask
found, pixels = np.unique(classes, return_counts=True)
row = table.set_index("series").loc[name]
assert all(row[f"n_{data.CLASSES[k]}"] == n for k, n in zip(found, pixels, strict=True))
print({data.CLASSES[k]: int(n) for k, n in zip(found, pixels, strict=True)})

# %% tags=["solution", "hide-cell"]
# Solution 3: the smallest share, and how often it goes into the background's
part = share.iloc[-1]
rarest = part[[f"{name} %" for name in data.FOREGROUND]].idxmin()
ratio = part["background %"] / part[rarest]
own = counts.iloc[-1]
assert np.isclose(ratio, own["n_background"] / own[[f"n_{c}" for c in data.FOREGROUND]].min())
print(f"{figures.spoken(share.index[-1])}: {rarest.removesuffix(' %')}, {ratio:.0f} to 1")

# %% [markdown]
# ## 1.9 Summary

# %%
present.tell(
    "1. SPIDER has {spider_scans} series of {spider_patients} patients; {spider_space} series are "
    "T2 SPACE.\n"
    "2. On T1 fat is bright and fluid dark, on T2 fluid is bright. T2 SPACE has the contrast of "
    "T2, acquired in 3D: slices "
    "{space_thickness} thick, where those of T1 are {t1_thickness}.\n"
    "3. The numbers in a mask become four classes: background, vertebrae, canal, discs.\n"
    "4. Most of a slice is background, so accuracy says little: scores are counted class by class."
)

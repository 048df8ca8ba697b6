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
# [![Run in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/REPOSITORY/blob/main/notebooks/02_preprocess.ipynb)
#
# # 2 From volumes to slices
#
# **The question of this notebook: what happens to a volume on its way to the network, and which slices survive it?** First step by step
# on one series, then the whole set with an audit that says for every slice why it was kept or dropped.

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
intensity = None  # slice_minmax (the paper) | volume_percentile
geometry = None  # stretch (the paper: plain resize) | pad (keeps the aspect)
store_height = None  # of a stored slice, pixels
store_width = None
min_classes = None  # a slice with fewer classes is dropped; 4 in the paper

# %%
from spider_utils.runs import open_run
from spider_utils.style import keep

options = {"intensity": intensity, "geometry": geometry, "min_classes": min_classes}
run = open_run(run_dir, source, data_dir, profile, **options, store_height=store_height, store_width=store_width)
settings = run.settings.preprocess
print(settings)

# %% [markdown]
# ## 2.1 One pose for all
#
# The axis that runs left to right is not the same in every file, and some volumes are flipped. The direction cosines in the header say
# how each one lies; the array's shape does not.

# %%
from spider_utils.sources import read_stack

series = [one for one in run.series() if one.sequence == "T2_SPACE"][0]
stack = read_stack(series)
print(series.name, "in the common pose | (slices, rows, columns):", stack.image.shape)

# %%
import SimpleITK as sitk

from spider_utils.figures_data import overlay, pose
from spider_utils.spider import read_volume

classes, middle = stack.classes(), len(stack.image) // 2
if stack.coding == "spider":
    volume = read_volume(series.image_files[0])
    stored, spacing_mm = sitk.GetArrayFromImage(volume), volume.GetSpacing()[::-1]
    print("direction cosines:", [round(value, 2) for value in volume.GetDirection()])
else:
    print("The released slices are in this pose already.")

# %% [markdown]
# The header's nine cosines are the directions of the three axes in the patient. What they lead to:

# %%
if stack.coding == "spider":
    figure = pose(stored, spacing_mm, stack.image, stack.pixel_mm, source=run.source)
else:
    figure = overlay(stack.image[middle], classes[middle], f"{series.name}, slice {stack.index[middle]}", source=run.source)
keep(figure, run.figures, "02_pose")

# %% [markdown]
# **Figure 2.1** A volume: the middle plane along each stored axis, then the common pose. Released slices: one of them with its classes.

# %% [markdown]
# ## 2.2 Four classes from label values
#
# In SPIDER's masks the label number alone decides: 1 to 99 and 101 to 125 are vertebrae, 100 is the canal, 201 to 225 are discs. Anything else is
# an error, not a guess. The paper scaled the label numbers to grey values and interpolated them, which invents labels at every edge, and repaired
# that afterwards. The released masks went that way; here their grey codes 0 / 76 / 150 / 29 are only decoded.

# %%
import numpy as np

from spider_utils.labels import CLASSES

for number, name in enumerate(CLASSES):
    print(f"{number} {name:<11}", np.unique(stack.labels[classes == number]).tolist())

# %% [markdown]
# ## 2.3 Intensity
#
# MRI has no absolute scale. The paper stretches every slice from its own minimum to its own maximum, so a slice with one very bright
# pixel turns dark. The alternative takes the 0.5 and 99.5 percentile of the whole volume. (On the released slices the first was done by their
# authors; the second cannot undo it.)

# %%
from spider_utils.figures_data import intensity_histograms
from spider_utils.preprocess import INTENSITIES, resize_stack, scale_intensity

scaled = {method: scale_intensity(stack.image, method) for method in INTENSITIES}
keep(intensity_histograms(stack.image, scaled, source=run.source), run.figures, "02_intensity")

# %% [markdown]
# **Figure 2.2** Intensities as stored and after both scalings.

# %% [markdown]
# ## 2.4 Size
#
# The paper resizes to 512 × 640 (width × height) whatever the shape of the slice, which can squeeze the spine; `pad` keeps one scale for
# both axes (in mm where the spacing is known) and fills the rest with background. Images are interpolated, masks take the nearest label: no new
# values.

# %%
from spider_utils.figures_data import preprocess_steps

mm = stack.pixel_mm or (1.0, 1.0)
one, aspect = slice(middle, middle + 1), mm[0] / mm[1]
image, mask = scaled[settings.intensity][one], classes[one]
steps = [("as acquired", stack.image[middle], None), ("classes", stack.image[middle], mask[0])]
for way in ("stretch", "pad"):
    resized = [resize_stack(array, mm, settings.size, way, nearest=array is mask)[0] for array in (image, mask)]
    steps.append((way, *resized))
    print(f"{way:<8}{image[0].shape} -> {resized[0].shape}, labels {np.unique(resized[1]).tolist()}")

# %%
figure = preprocess_steps(steps, aspects=[aspect, aspect, 1, 1], source=run.source)
keep(figure, run.figures, "02_steps")

# %% [markdown]
# **Figure 2.3** One slice on its way.

# %% [markdown]
# ## 2.5 The whole set
#
# All series go the same way into a *slice store*: two arrays that open memory-mapped, and one table with a row a slice.

# %%
store = run.store()
print("images", store.images.shape, store.images.dtype, "| masks", store.masks.shape, store.masks.dtype)
store.table[["series", "slice_index", "pixel_mm_row", "pixel_mm_col", "n_vertebrae", "n_canal", "n_discs"]].head().round(2)

# %% [markdown]
# A slice stays when at least `min_classes` classes are in it, background included: the paper's first rule. Its second, an imbalance ratio above
# 55 %, cannot be applied as written, since a ratio of highest to lowest is never below 1. The audit has a row for every slice, dropped ones too.

# %%
reasons = store.audit.groupby(["sequence", "reason"]).size().rename("slices").reset_index()
reasons.sort_values(["sequence", "slices"], ascending=[True, False]).groupby("sequence").head(4).reset_index(drop=True)

# %%
from spider_utils.figures_data import audit_strips

keep(audit_strips(store.audit, source=run.source), run.figures, "02_audit")

# %% [markdown]
# **Figure 2.4** One row a series, kept slices in blue. Whole volumes lose their sides, where no slice shows all classes; the released set was cut to
# its middle by hand before.

# %% [markdown]
# ## 2.6 Who trains, who chooses, who is scored
#
# The split is by patient. *Train* fits the weights, *validation* chooses the epoch, *test* is only scored. Neighbouring slices of one
# patient look alike; if they stood on two sides of the split, the score would measure memory.

# %%
split = run.split()
for side in ("train", "validation", "test"):
    rows = split.rows(store.table, side)
    print(f"{side:<11}{len(getattr(split, side)):>3} patients {len(rows):>5} slices")
print("split:", split.kind)

# %% [markdown]
# ## 2.7 Summary

# %%
assert not set(split.train) & set(split.test) and not set(split.validation) & (set(split.train) | set(split.test))
print(f"1. {len(store.audit)} slices were looked at, {len(store)} are kept.")
print(f"2. Stored at {settings.store_width} x {settings.store_height} pixels, intensity '{settings.intensity}', resize '{settings.geometry}'.")
print(f"3. {len(split.train)} / {len(split.validation)} / {len(split.test)} patients train / validate / test; none is on two sides.")

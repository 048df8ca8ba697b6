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
# # 2 From volumes to slices
#
# **The question of this notebook: what happens to a volume on its way to the network, and which slices survive it?** Afterwards you can say what each step
# changes, why a reference mask is not the truth, what Dice and IoU count, and why a Dice of 0.97 need not say anything about a new patient.

# %%
from spider_utils import present

present.picture("reference_reference_examples", width=900)

# %% [markdown]
# **Figure 2.1** A disc and its vertebrae in three patients, and what was drawn over them. These masks are what a network learns and what it is judged by. Every step
# of this notebook can move such an edge by a pixel.
#
# ## Parameters
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source`, `data_dir`, `run_dir`, `profile` | as in [notebook 1](01_explore_data.ipynb) | which data, and where the run is kept |
# | `intensity` | `slice_minmax`, `volume_percentile` | how grey values are scaled; the first is the paper's |
# | `geometry` | `stretch`, `pad` | how a slice gets its size: a plain resize (the paper), or with its shape kept |
# | `labels` | `direct`, `apta` | how masks become four classes: by label value, or the paper's way |
# | `min_classes` | 1 to 4 | a slice with fewer classes is dropped, background counted; 4 in the paper |
# | `slice_filter` | `none`, `text_ratio`, `published_ratio`, `largest_share`, `central_run` | a second rule that drops slices (section 2.5) |
# | `more` | a dictionary, or None | any other setting, such as `{"store_height": 640, "store_width": 512}` |
#
# None means: what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
intensity = None
geometry = None
labels = None
min_classes = None
slice_filter = None
more = None

# %%
from spider_utils import data, evaluate, figures, runs, studies

options = {"intensity": intensity, "geometry": geometry, "labels": labels}
options |= {"min_classes": min_classes, "slice_filter": slice_filter}
run = runs.open_run(run_dir, source, data_dir, profile, more, **options)
settings = run.settings.preprocess
print("source:", run.source, "| profile:", run.profile)
print("intensity:", settings.intensity, "| geometry:", settings.geometry)
print("labels:", settings.labels, "| size (rows, columns):", settings.size)

# %% [markdown]
# ## 2.1 One pose for all
#
# SPIDER's volumes do not all lie alike: the axis that runs from left to right is the first of the array in one file and the last in another, and some are
# flipped. The header's *direction cosines*, three directions in the patient, say how; the array's shape does not.
# A slice is in the common pose already, so where your data are slices a PHANTOM, a synthetic spine in SPIDER's format, stands here and in
# section 2.2 for a volume. [Notebook 8](08_volumes.ipynb) works with whole volumes.

# %%
import SimpleITK as sitk

volume_source, volumes = run.volumes()
whole = next(one for one in volumes if one.sequence == "T2_SPACE")
volume, posed = data.read_volume(whole.image_files[0]), data.read_stack(whole)
stored, spacing_mm = sitk.GetArrayFromImage(volume), volume.GetSpacing()[::-1]
print("as stored:", stored.shape, "| (slices, rows, columns):", posed.image.shape)
figure = figures.pose(stored, spacing_mm, posed.image, posed.pixel_mm, source=volume_source)
figures.keep(figure, run.figures, "02_pose")

# %% [markdown]
# **Figure 2.2** The middle plane along each stored axis, then the middle slice in the common pose (PHANTOM, where your data are slices).
#
# ## 2.2 Four classes: by label value, or the paper's way
#
# The label number alone decides (the table of section 1.5); any other value is an error, not a guess. These are our `direct` labels.
#
# The paper sent masks through code made for images. The label numbers of a slice were scaled to grey 0 to 255, where
# a vertebra is 1 to 10 and looks black, and resized with *interpolation*: at the edge of a disc it invents greys between those of disc and background, and one
# of them is the canal's. Their repair, named APTA, is six passes over
# the picture: thresholds, then neighbours that outvote each other. `labels = "apta"` goes that way.

# %%
from dataclasses import replace

import numpy as np

middle = len(posed.image) // 2
paper = replace(settings, min_classes=4)
grey = data.apta_greys(posed, paper)[middle]
direct = data.stored_masks(posed, replace(paper, labels="direct"))[middle]
print(len(np.unique(posed.labels[middle])), "label values,", len(np.unique(grey)), "grey values")
stages = data.apta_stages(grey)
figure = figures.apta_stages_figure(grey, stages, direct, source=volume_source)
figures.keep(figure, run.figures, "02_labels")

# %% [markdown]
# **Figure 2.3** A grey mask, the passes of APTA in a part of it, and where the result differs from the direct labels (PHANTOM, where your data are slices).

# %%
present.tell(
    "On whole PHANTOM volumes APTA's canal has a Dice of {apta_canal} against the direct labels, "
    "in slices with all classes: an edge of about a pixel. At the sides it fails: of all slices "
    "{apta_complete_before} show all classes, {apta_complete_after} seem to after APTA, "
    "since vertebrae turn into canal and discs there (`results/labels`)."
)

# %% [markdown]
# ## 2.3 Intensity
#
# MRI has no absolute scale. The paper stretches every slice from its own minimum to its own maximum,
#
# $$g = 255 \cdot \frac{x - \min}{\max - \min}$$
#
# with $x$ a pixel's intensity and $g$ its grey value. One very bright pixel then turns the slice dark. `volume_percentile` runs from no
# signal to the 99.5 percentile of the body in the whole volume. The released slices and the sample's were stretched before they were published, so again a volume shows it:

# %%
scaled = {method: data.scale_intensity(posed.image, method) for method in data.INTENSITIES}
figure = figures.intensity_histograms(posed.image, scaled, source=volume_source)
figures.keep(figure, run.figures, "02_intensity")

# %% [markdown]
# **Figure 2.4** Intensities of one series as stored and after both scalings (PHANTOM, where your data are slices).
#
# ## 2.4 Size
#
# A network wants slices of one size. The paper resizes to 512 × 640 (width × height) whatever the shape, which squeezes the spine where the slice was square. `pad` keeps
# one scale for both axes and fills the rest with background. Images are interpolated; masks take the nearest pixel's label, so that no value is invented.
# A T2 slice of your data, the one with the largest canal:

# %%
table = run.survey().sort_values("n_canal", ascending=False)
name = table.sort_values("sequence", key=lambda s: s != "T2", kind="stable")["series"].iloc[0]
stack = next(data.read_stack(one) for one in run.series() if one.name == name)
middle = len(stack.image) // 2
mm, mask = stack.pixel_mm or (1.0, 1.0), stack.classes()[middle, None]
image = data.scale_intensity(stack.image, settings.intensity)[middle, None]
steps = [("as acquired", stack.image[middle], None), ("classes", stack.image[middle], mask[0])]
for way in ("stretch", "pad"):
    small = data.resize_stack(image, mm, settings.size, way, nearest=False)[0]
    labelled = data.resize_stack(mask, mm, settings.size, way, nearest=True)[0]
    steps.append((way, small, labelled))
    print(f"{way:<8}{image[0].shape} -> {small.shape}, classes {np.unique(labelled).tolist()}")
aspects = [stack.aspect, stack.aspect, 1, 1]
figure = figures.preprocess_steps(steps, aspects=aspects, source=run.source)
figures.keep(figure, run.figures, "02_steps")

# %% [markdown]
# **Figure 2.5** One slice on its way. After `stretch` the spine is narrower than it was, after `pad` it is not.
#
# ## 2.5 The whole set, and which slices stay
#
# All series go the same way into a *slice store*: two arrays, and a table with a row a slice. The paper's first rule: a slice stays when at least `min_classes`
# classes are in it. Every slice has a row in the *audit*, dropped ones too.
#
# **Predict:** which class is missing most often?

# %%
store = run.store()
print("images", store.images.shape, store.images.dtype)
print("masks ", store.masks.shape, store.masks.dtype)
audit = store.audit
lacking = {f"no {name}": audit[f"n_{name}"] == 0 for name in data.FOREGROUND}
counts = audit.assign(slices=1, **lacking).groupby("sequence")[["slices", *lacking, "kept"]].sum()
counts

# %% [markdown]
# The canal: a T2 slice that lies beside it shows vertebrae and discs alone. Slices of the released set and the sample's T2 SPACE were cut to the middle before.
# Whole volumes (PHANTOM, where your data are slices) show what the rule does, here with the paper's four classes:

# %%
whole_audit = data.audit(volumes[:12], replace(settings, min_classes=4, labels="direct"))
figure = figures.audit_strips(whole_audit, source=volume_source)
figures.keep(figure, run.figures, "02_audit")

# %% [markdown]
# **Figure 2.6** One row a volume, from the patient's right to the left, kept slices in blue. The sides are dropped: no slice there shows all classes.
#
# The paper's second rule drops slices by a ratio of class weights. Each way to read it has a name here (`slice_filter`).

# %%
present.tell(
    "As the text has it, highest over lowest class weight up to 55 %, the rule keeps "
    "{filter_text_kept} of the {released_slices} slices that the authors released: such a ratio is "
    "never below 1. The published version inverts both fractions and keeps "
    "{filter_published_kept}; a largest foreground class of up to 55 % keeps "
    "{filter_share_kept}. So the first and the last did not make the released set "
    "(`results/filters`)."
)

# %% [markdown]
# ## 2.6 The reference's own conventions
#
# A score compares a mask with a *reference*, and references were drawn by people, each by some convention. How wide is the *gap* between a disc and the vertebra beside
# it, or do they touch? How many *islands* (specks smaller than 1/10000 of the slice) are there? Is the vertebra labelled that the upper edge cuts off?
#
# **Predict:** do all series follow one convention?

# %%
reference = studies.audit_reference(store)
examples = studies.examples(reference, store.table).items()
shown = [(title, store.images[row], store.masks[row]) for title, row in examples]
figure = figures.reference_audit(reference, shown, source=run.source)
figures.keep(figure, run.figures, "02_reference")

# %% [markdown]
# **Figure 2.7** One row a series of this run. The gap is the background between a disc's contour and the nearest vertebra, in pixels of the stored slice. The same
# audit of the released series, at full size (`python -m spider_utils study reference`), found:

# %%
present.tell(
    "- The gap: median {reference_gap} pixels, {reference_gap_range} by series. "
    "In {reference_touching} of {reference_series} (patient {touching_patient}) there is none.\n"
    "- {reference_speckled} series are *speckled*, up to {reference_islands_most} islands a slice, "
    "most of them false canal along discs. A canal drawn right but without them has an HD95 of "
    "{reference_specks_hd95} pixels there (median).\n"
    "- {reference_top} series lack the vertebra at the upper edge in more than half of their "
    "slices. In others single slices lack it: the error analysis "
    "([notebook 6](06_error_analysis.ipynb)), which counts slices in which a network drew it, "
    "finds {top_fault_slices} such slices, in {top_fault_series} series, those {reference_top} "
    "among them.\n"
    "- A disc against itself minus one pixel all around has a Dice of {eroded_discs}, though "
    "its NSD at 1 pixel is {eroded_discs_nsd}. Thin structures are judged hard."
)

# %% [markdown]
# HD95 is a distance between edges, NSD the share of them that agree within a tolerance (notebook 5, [glossary](../docs/glossary.md)). So part of any honest score is the reference's own inconsistency: read NSD beside Dice. All numbers are in `results/reference`.
#
# ## 2.7 Who trains, who chooses, who is scored
#
# *Train* fits the weights, *validation* chooses the epoch, *test* is only scored. The split is by patient, unless it is named LEAKY: neighbouring slices of one patient look
# alike, and if they stood on two sides, the score would measure memory.

# %%
split = run.split()
sides = {side: set(getattr(split, side)) for side in ("train", "validation", "test")}
for side, patients in sides.items():
    print(f"{side:<11}{len(patients):>3} patients {len(split.rows(store.table, side)):>5} slices")
print("split:", split.label)
shared = sides["train"] & sides["test"] | sides["validation"] & (sides["train"] | sides["test"])
assert split.leaky or not shared

# %% [markdown]
# ## 2.8 What copying the neighbour's mask scores
#
# How much memory would that be? Take two neighbouring slices and copy the mask of the first to the second: no network, no look at the image. Two numbers say how well
# masks $A$ (copied) and $B$ (its own) of one class overlap, with $|A|$ the number of pixels in $A$:
#
# $$\text{Dice} = \frac{2\,|A \cap B|}{|A| + |B|} \qquad \text{IoU} = \frac{|A \cap B|}{|A \cup B|}$$
#
# Both are 1 for equal masks and 0 for masks without a common pixel. By hand, a row of five pixels: $A$ = `1 1 1 0 0`, $B$ = `0 1 1 1 0`. Two pixels are in both, three in each, four in
# either: Dice = 2 · 2 / (3 + 3) = 2/3, IoU = 2/4. Dice is the kinder one: Dice = 2 IoU / (1 + IoU).
#
# **Predict:** what Dice does the copy get, as the mean of the three classes?

# %%
in_space = store.table["sequence"] == "T2_SPACE"
space = store.subset(in_space) if in_space.sum() >= 5 else store
pair = studies.typical_neighbours(space.masks, space.table)
figure = present.picture("copied_hero", width=1000)  # where no slice has a neighbour
if pair:
    rows, numbers = list(pair), tuple(space.table["slice_index"].iloc[list(pair)])
    images, masks = space.images[rows], space.masks[rows]
    figure = figures.copied_mask(numbers, images, masks, source=run.source)
    figures.keep(figure, run.figures, "02_copied")
figure

# %% [markdown]
# **Figure 2.8** A slice's mask copied to the next slice. Of all neighbouring pairs this one has the median Dice: half of them score more. Orange and blue is all that the
# copy gets wrong.
#
# Now deal all *slices* at random, 80 % to train, 20 % to test (`random_slice`, **LEAKY**: slices of one patient stand on both sides). The prediction for
# a tested slice is the mask of the nearest training slice of the same patient. Under a split by patient there is none; the nearest thing is another patient's
# mask from the same place in its series.

# %%
copied = studies.copying_table(space, min(5, len(space)))
published = evaluate.PAPER_TABLE[evaluate.PAPER_TABLE["sequence"] == "T2_SPACE"]
beside = None if run.source == "phantom" else published.melt("class", ["dice"], "metric")
names = {studies.NEIGHBOUR: "nearest slice, split by slice: LEAKY"}
names |= {studies.OTHER_PATIENT: "other patient, split by patient"}
look = {"sequence": space.table["sequence"].iloc[0], "source": run.source}
figures.keep(figures.copying_dice(copied, names, beside, **look), run.figures, "02_copying")

# %% [markdown]
# **Figure 2.9** Copied masks, each slice scored once; on real data beside what the paper's network scores on its own validation data.

# %%
present.tell(
    "On the {released_slices} released slices: masks of slices one apart (about {space_distance}) "
    "have a Dice of {apart_1}, two apart {apart_2}, three apart {apart_3}. Under a random split, "
    "90 / 10, "
    "over slices a copied mask scores {copied_foreground}, of discs {copied_discs} beside the "
    "paper's {paper_discs_short}; another patient's mask {copied_other_patient}. That the paper's "
    "number comes from such a split is not stated; its authors' public script deals slices at "
    "random. [Notebook 5](05_evaluate.ipynb) trains networks under both splits."
)

# %% [markdown]
# ## 2.9 Exercises
#
# 1. Compute the IoU of the vertebrae in Figure 2.8 from the two masks, and check that it fits the Dice in the legend.
# 2. Show from the store's table that the paper's second rule, as its text has it, keeps no slice of this data.
# 3. Stretch a square of 100 × 100 pixels, in a slice as large as that of Figure 2.5, to the store's size. How wide and how high is it afterwards?

# %% tags=["solution", "hide-cell"]
# Solution 1: count pixels in both masks and in either
first, second = space.masks[list(pair or (0, 0))] == data.CLASSES.index("vertebrae")
both, either = (first & second).sum(), (first | second).sum()
dice = 2 * both / (first.sum() + second.sum())
assert np.isclose(dice, 2 * (both / either) / (1 + both / either))
print(f"IoU {both / either:.3f}, Dice {dice:.3f}")

# %% tags=["solution", "hide-cell"]
# Solution 2: highest over lowest count of a slice is at least 1, so never up to 0.55
pixels = store.table[data.COUNTS].to_numpy()
ratio = pixels.max(axis=1) / np.maximum(pixels.min(axis=1), 1)
kept = data.filter_table(store.audit).set_index("filter").loc["text_ratio", "kept"]
assert (ratio <= 0.55).sum() == kept == 0
print(f"the ratio is {ratio.min():.0f} or more")

# %% tags=["solution", "hide-cell"]
# Solution 3: each axis is scaled by its own factor
height, width = stack.image.shape[1:]
square = np.zeros((1, height, width), np.uint8)
square[0, 50:150, 50:150] = 1
out = data.resize_stack(square, (1.0, 1.0), settings.size, "stretch", nearest=True)[0]
rows, columns = out.any(axis=1).sum(), out.any(axis=0).sum()
assert abs(rows - 100 * settings.size[0] / height) <= 1
assert abs(columns - 100 * settings.size[1] / width) <= 1
print(f"{rows} rows x {columns} columns: {columns / rows:.2f} times as wide as high")

# %% [markdown]
# ## 2.10 Summary

# %%
present.tell(
    "1. Every series gets one pose, four classes, one grey scale and one size; a slice with too "
    "few classes is dropped.\n"
    "2. References differ: {reference_speckled} of {reference_series} series are speckled, "
    "{reference_touching} has no gap, {reference_top} lack the vertebra at the upper edge.\n"
    "3. Dice and IoU count the pixels that two masks share.\n"
    "4. Under a random split over slices a copied mask scores {copied_foreground}; that the "
    "paper's number comes from such a split is not stated. Another patient's mask scores "
    "{copied_other_patient}. So we split by patient."
)

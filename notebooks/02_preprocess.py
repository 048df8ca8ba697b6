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
# # 2 From volumes to slices
#
# **The question of this notebook: what happens to a volume on its way to the network, and which slices survive it?** First step by step
# on one series, then the whole set with an audit that says for every slice why it was kept or dropped.

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper
intensity = None  # slice_minmax (the paper) | volume_percentile
geometry = None  # stretch (the paper: plain resize) | pad (keeps the aspect)
store_height = None  # of a stored slice, pixels
store_width = None
labels = None  # direct (by label value) | apta (the paper's route over grey values)
min_classes = None  # a slice with fewer classes is dropped; 4 in the paper
slice_filter = None  # none | text_ratio | published_ratio | largest_share | central_run, and two _foreground (section 2.5)

# %%
from spider_utils import data, evaluate, runs, studies, figures

options = {"intensity": intensity, "geometry": geometry, "store_height": store_height, "store_width": store_width}
options |= {"labels": labels, "min_classes": min_classes, "slice_filter": slice_filter}
run = runs.open_run(run_dir, source, data_dir, profile, **options)
settings = run.settings.preprocess
print(settings)

# %% [markdown]
# ## 2.1 One pose for all
#
# The axis that runs left to right is not the same in every file, and some volumes are flipped. The direction cosines in the header say
# how each one lies; the array's shape does not. Slices are in the common pose already, so where a run's data are slices a PHANTOM, a synthetic
# spine in SPIDER's format, stands for the volumes here and in section 2.2.

# %%
volume_source, volumes = run.volumes()
whole = [one for one in volumes if one.sequence == "T2_SPACE"][0]
stack = data.read_stack(whole)
print(f"{whole.name} ({volume_source}) in the common pose | (slices, rows, columns): {stack.image.shape}")

# %%
import SimpleITK as sitk

classes, middle = stack.classes(), len(stack.image) // 2
volume = data.read_volume(whole.image_files[0])
stored, spacing_mm = sitk.GetArrayFromImage(volume), volume.GetSpacing()[::-1]
print("direction cosines:", [round(value, 2) for value in volume.GetDirection()])

# %% [markdown]
# The header's nine cosines are the directions of the three axes in the patient. What they lead to:

# %%
figures.keep(figures.pose(stored, spacing_mm, stack.image, stack.pixel_mm, source=volume_source), run.figures, "02_pose")

# %% [markdown]
# **Figure 2.1** The middle plane along each stored axis, then the common pose.

# %% [markdown]
# ## 2.2 Four classes: by label value, or the paper's way
#
# In SPIDER's masks the label number alone decides: 1 to 99 and 101 to 125 are vertebrae, 100 is the canal, 201 to 225 are discs. Anything else is
# an error, not a guess. These are our `direct` labels. The released masks hold grey codes instead, which are decoded: 0 / 76 / 150 / 29; pairs and
# the sample hold the four classes themselves.

# %%
import numpy as np

for number, name in enumerate(data.CLASSES):
    print(f"{number} {name:<11}", np.unique(stack.labels[classes == number]).tolist())

# %% [markdown]
# The paper sent its masks through the code that it had for images. The label numbers of each slice were scaled to grey 0 to 255, where a vertebra
# is 1 to 10 and looks black, and resized with interpolation, which invents values at every edge. The repair, named APTA, is six passes over the
# picture: thresholds, then neighbours that outvote each other. `labels = "apta"` goes that way, pass by pass and tie by tie.

# %%
from dataclasses import replace

paper = replace(settings, min_classes=4)  # the paper's rule, which APTA's faults trip
grey = data.apta_greys(stack, paper)[middle]
direct = data.stored_masks(stack, replace(paper, labels="direct"))[middle]
print(f"{len(np.unique(stack.labels[middle]))} label values in this slice, {len(np.unique(grey))} grey values after resizing")

# %%
figures.keep(figures.apta_stages_figure(grey, data.apta_stages(grey), direct, source=volume_source), run.figures, "02_labels")

# %% [markdown]
# **Figure 2.2** A grey mask, the passes of APTA in a part of it, and where the result differs from the direct labels.
#
# What does that do to a whole set? Every slice of up to 30 series, labelled both ways:

# %%
compared = data.compare_labels(volumes[:30], paper)
enough, added = compared[compared["enough_direct"]], compared["enough_apta"] & ~compared["enough_direct"]
print(f"{len(enough)} slices with enough classes: pixels changed, {100 * enough['changed'].sum() / enough['foreground'].sum():.1f} % of the foreground")
print("Dice of APTA against direct:", enough.filter(like="dice_").mean().round(3).to_dict())
print(f"canal lost in {enough['lost_canal'].sum()} of them; {added.sum()} other slices have enough classes only after APTA")

# %%
figures.keep(figures.label_comparison(compared, source=volume_source), run.figures, "02_label_comparison")

# %% [markdown]
# **Figure 2.3** Direct labels against APTA's, slice by slice.
#
# Where a slice shows all classes, the two ways differ by an edge about a pixel wide, and the Dice above is what that edge alone costs. At the sides
# APTA fails: where the highest label is a vertebra, vertebrae turn into canal and discs, and discs get a rim of canal, so that slices without a
# canal pass for complete ones.

# %% [markdown]
# ## 2.3 Intensity
#
# MRI has no absolute scale. The paper stretches every slice from its own minimum to its own maximum, so a slice with one very bright
# pixel turns dark. The alternative takes the 0.5 and 99.5 percentile of the whole volume. (On the released slices the first was done by their
# authors; the second cannot undo it.) A T2 series of this run's own data, the one with the largest canal:

# %%
table = run.survey()
name = table[table["sequence"] == "T2"].sort_values("n_canal", ascending=False)["series"].iloc[0] if "T2" in set(table["sequence"]) else table["series"].iloc[0]
stack = next(data.read_stack(one) for one in run.series() if one.name == name)
classes, middle = stack.classes(), len(stack.image) // 2
print(name, "| (slices, rows, columns):", stack.image.shape)

# %%
scaled = {method: data.scale_intensity(stack.image, method) for method in data.INTENSITIES}
figures.keep(figures.intensity_histograms(stack.image, scaled, source=run.source), run.figures, "02_intensity")

# %% [markdown]
# **Figure 2.4** Intensities as stored and after both scalings.

# %% [markdown]
# ## 2.4 Size
#
# The paper resizes to 512 × 640 (width × height) whatever the shape of the slice, which can squeeze the spine; `pad` keeps one scale for
# both axes (in mm where the spacing is known) and fills the rest with background. Images are interpolated, masks take the nearest label: no new
# values.

# %%
mm = stack.pixel_mm or (1.0, 1.0)
one, aspect = slice(middle, middle + 1), mm[0] / mm[1]
image, mask = scaled[settings.intensity][one], classes[one]
steps = [("as acquired", stack.image[middle], None), ("classes", stack.image[middle], mask[0])]
for way in ("stretch", "pad"):
    resized = [data.resize_stack(array, mm, settings.size, way, nearest=array is mask)[0] for array in (image, mask)]
    steps.append((way, *resized))
    print(f"{way:<8}{image[0].shape} -> {resized[0].shape}, labels {np.unique(resized[1]).tolist()}")

# %%
figure = figures.preprocess_steps(steps, aspects=[aspect, aspect, 1, 1], source=run.source)
figures.keep(figure, run.figures, "02_steps")

# %% [markdown]
# **Figure 2.5** One slice on its way.

# %% [markdown]
# ## 2.5 The whole set
#
# All series go the same way into a *slice store*: two arrays that open memory-mapped, and one table with a row a slice.

# %%
store = run.store()
print("images", store.images.shape, store.images.dtype, "| masks", store.masks.shape, store.masks.dtype)
store.table[["series", "slice_index", "pixel_mm_row", "pixel_mm_col", "n_vertebrae", "n_canal", "n_discs"]].head().round(2)

# %% [markdown]
# A slice stays when at least `min_classes` classes are in it, background included: the paper's first rule. `slice_filter` can drop more. The audit
# has a row for every slice, dropped ones too.

# %%
reasons = store.audit.groupby(["sequence", "reason"]).size().rename("slices").reset_index()
reasons.sort_values(["sequence", "slices"], ascending=[True, False]).groupby("sequence").head(4).reset_index(drop=True)

# %%
figures.keep(figures.audit_strips(store.audit, source=run.source), run.figures, "02_audit")

# %% [markdown]
# **Figure 2.6** One row a series, kept slices in blue. Whole volumes lose their sides, where no slice shows all classes; the released set was cut to
# its middle by hand before.
#
# ### Which filter made the released set?
#
# The paper's second rule drops slices whose "imbalance ratio" is above 55 %. As written, highest class weight over lowest, it can keep nothing: such a
# ratio is never below 1. The published version inverts both fractions, and then drops the *balanced* slices. Each reading has a name here, with or
# without the background; so have two other rules: largest share of the foreground up to 55 %, and the longest run without a gap.

# %%
released = run.source == "released"
filters = data.verdicts(store.audit) if released else data.filter_table(store.audit)
filters.round(3)

# %%
figures.keep(figures.filter_bars(filters, source=run.source), run.figures, "02_filters")

# %% [markdown]
# **Figure 2.7** What each filter keeps of this data, out of the slices with enough classes.
#
# The authors kept every slice that they released, so a filter that would drop one of them did not make the set. And at the ends of the released
# runs no class is running out, so that no count of classes ended them.

# %%
shares = 100 * data.largest_shares(store.table[data.COUNTS].to_numpy())
print(f"Largest foreground class: {shares.min():.0f} to {shares.max():.0f} % of the foreground.")
if released:
    ends = data.run_ends(store.audit)
    print(f"The rarest class at the {len(ends)} ends of the runs has {ends['pixels'].min()} to {ends['pixels'].max()} pixels.")
    print("Refuted:", ", ".join(filters.loc[filters["verdict"] == "refuted", "filter"]))

# %% [markdown]
# On the 622 released slices (`papermill notebooks/02_preprocess.ipynb out.ipynb -p source released -p data_dir DIR -p profile cpu`) both `text_ratio` keep none and
# `largest_share` keeps 20: refuted. Both `published_ratio` keep all 622, which says little, since the ratio there is 0.39 at most. Every
# series is one run without a gap (`central_run`), whose end slices still hold 1965 pixels or more of the rarest class: ranges chosen by hand, as in the authors' script.

# %% [markdown]
# ## 2.6 The reference's own conventions
#
# A score compares a mask with a reference, and references were drawn by people, by conventions. Do all series follow the same ones? How wide is the
# *gap* between a disc and the vertebra beside it, do the two touch, how many *islands* (specks smaller than 1/10000 of the slice) and holes
# are there, is the vertebra labelled that the upper edge cuts off, how much changes from one slice to the next?

# %%
reference = studies.audit_reference(store)
studies.audit_summary(reference).round(3)

# %% [markdown]
# The median over the series with the lowest and the highest one, or a number of series; `n` counts the series. Pixels are those of the stored slice.

# %%
shown = [(title, store.images[row], store.masks[row]) for title, row in studies.examples(reference, store.table).items()]
figures.keep(figures.reference_audit(reference, shown, source=run.source), run.figures, "02_reference")

# %% [markdown]
# **Figure 2.8** One row a series. The gap is the background between a disc's contour and the nearest vertebra within 15 pixels (of 640 rows).

# %%
figures.keep(figures.reference_examples(shown, source=run.source), run.figures, "02_reference_examples")

# %% [markdown]
# **Figure 2.9** A disc of the series that differ most. The phantom is drawn by one rule, its discs reach the vertebrae; real masks are not of one kind.
#
# On the 622 released slices (`python -m spider_utils study reference --out DIR`) the gap has a median of 2.2 to 4.8 pixels in 29 series, and in one,
# patient 162, discs and vertebrae touch. Ten series are *speckled*: 2.8 to 39 islands a slice, most of them "canal" along the discs, as interpolated grey
# labels leave them; the other twenty fewer than one. A prediction that draws such a canal perfectly but for its islands has an HD95 of 27 pixels
# (median of the ten). In four series the vertebra at the upper edge is not labelled; in two of them, 65 and 241, it is the ninth, and no other series
# has nine, which fits APTA if its greys were rounded: label 9 of 209 is grey 10.98, and only 1 to 10 count as vertebrae. (The public script cuts it to 10; but it makes 620 rows where the released files have 640, so they come from another version.) Thin discs, too, are judged hard: a disc against itself
# less one pixel all around has a Dice of 0.91, though its NSD at 1 pixel is 0.996. So part of any honest score is the reference's own inconsistency:
# read NSD beside Dice.

# %% [markdown]
# ## 2.7 Who trains, who chooses, who is scored
#
# The split is by patient, unless it is named LEAKY below. *Train* fits the weights, *validation* chooses the epoch, *test* is only scored. Neighbouring slices of one
# patient look alike; if they stood on two sides of the split, the score would measure memory.

# %%
split = run.split()
for side in ("train", "validation", "test"):
    rows = split.rows(store.table, side)
    print(f"{side:<11}{len(getattr(split, side)):>3} patients {len(rows):>5} slices")
print("split:", split.label)

# %% [markdown]
# ## 2.8 What copying the neighbour's mask scores
#
# Now the other split: all *slices* are shuffled, 80 % train, 20 % are tested (`random_slice`, **LEAKY**: slices of one
# patient stand on both sides). Who can win there? A baseline with no network and no look at the image: the prediction for a tested slice is the *mask
# of the nearest training slice of the same patient*. Five folds test every slice once; this is how far away that training slice lies on T2 SPACE (in
# slices; % of the tested ones):

# %%
in_space = store.table["sequence"] == "T2_SPACE"
space = store.subset(in_space) if in_space.sum() >= 5 else store
folds = min(5, len(space))
pairs = studies.every_slice_once(space.table, data.SplitSettings(split="random_slice", folds=folds, validation_share=0.0))
print((100 * pairs["distance"].value_counts(normalize=True)).round(1).to_string(header=False))

# %% [markdown]
# Under a split by patient there is no such neighbour. The nearest thing is another patient's mask from the same place in its series. Dice of both,
# from pooled pixels:

# %%
import pandas as pd

copied = studies.copying_table(space, folds)
pd.DataFrame({name: evaluate.score_table(part, metrics=("dice",))["Dice"] for name, part in copied.groupby("split")})

# %%
paper = evaluate.PAPER_TABLE[evaluate.PAPER_TABLE["sequence"] == "T2_SPACE"].melt("class", ["dice"], "metric")
paper = None if run.source == "phantom" else paper  # what real patients scored says nothing beside synthetic ones
names = {studies.NEIGHBOUR: "nearest slice, split by slice: LEAKY", studies.OTHER_PATIENT: "other patient, split by patient"}
figure = figures.copying_dice(copied, names, paper, sequence=space.table["sequence"].iloc[0], source=run.source)
figures.keep(figure, run.figures, "02_copying")

# %% [markdown]
# **Figure 2.10** T2 SPACE: copied masks; on real data beside what the paper's network scores on its own validation data.

# %%
overlap = studies.neighbour_overlap(space.masks, space.table)
figures.keep(figures.dice_by_distance(overlap, source=run.source), run.figures, "02_neighbours") if len(overlap) else "No two slices of one series lie beside each other."

# %% [markdown]
# **Figure 2.11** T2 SPACE slices are 0.9 mm apart: one slice further, the mask is nearly the same.
#
# On the 622 released slices (`python -m spider_utils study copying --out DIR`) copying scores 0.957 [0.955, 0.959] for vertebrae, 0.955 [0.953, 0.958] for
# the canal and **0.974 [0.970, 0.977] for discs, above the paper's 0.969**; the mean is 0.962 [0.960, 0.964] beside the paper's 0.969. Another patient's
# mask scores 0.225 [0.188, 0.265]. The paper does not say how it split; its authors' public training script deals 10 % of the slices at random. Under such a split a Dice of 0.96 to 0.97 is what a photocopier gets: it
# says that neighbouring slices look alike, and nothing about a patient whom nobody has labelled yet.

# %% [markdown]
# ## 2.9 Summary

# %%
assert split.leaky or not (set(split.train) & set(split.test) or set(split.validation) & (set(split.train) | set(split.test)))
print(f"1. {len(store.audit)} slices were looked at, {len(store)} are kept.")
print(f"2. Stored at {settings.store_width} x {settings.store_height} pixels, intensity '{settings.intensity}', resize '{settings.geometry}', labels '{settings.labels}'.")
print(f"3. {len(split.train)} / {len(split.validation)} / {len(split.test)} patients train / validate / test; {'some are on several sides: LEAKY' if split.leaky else 'none is on two sides'}.")
leaky = copied[(copied["split"] == studies.NEIGHBOUR) & (copied["aggregation"] == "pooled") & (copied["metric"] == "dice")]
value = leaky.set_index(["sequence", "class"]).loc[("all", "foreground"), "value"]
print(f"4. Copying the neighbour's mask scores a Dice of {value:.3f} when slices are split at random (LEAKY).")

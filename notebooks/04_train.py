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
# # 4 Train
#
# **The question of this notebook: how does the network learn, and when do we stop?** Batch 8 and the combined loss are the paper's; Adam, its
# learning rate and the schedule are not stated there and are ours. The epoch is chosen by the mean IoU on validation patients, who are
# not trained on and no part of the reported score; with the schedule `cosine` nothing is chosen, the last epoch counts.

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper
split = None  # auto | official | patient_kfold | random_slice (LEAKY)
folds = None  # of the k-fold
fold = None  # the tested one, from 0
split_seed = None
validation_share = None  # of the patients (random_slice: slices) that are not tested; 0 needs schedule cosine
train_slices = None  # so many of the training slices, drawn at random; 0: all
train_sequences = None  # those that are learnt from, joined by +; all are tested
train_masks = None  # reference, and where there are any masks that nobody drew: reference+carried
epochs = None  # at most
batch_size = None
augmentation = None  # none (the paper) | light | strong | contrast | field | contrast_field
epoch_slices = None  # slices drawn an epoch, those of rare sequences more often; 0: every slice once
balance = None  # of the sequences in such draws: 0 all slices alike often, 1 all sequences
precision = None  # auto (float16 where autocast has it on CUDA, else float32) | float32 | bfloat16
learning_rate = None
schedule = None  # plateau (the validation side decides) | cosine (falls to 0 over all epochs, the last one is kept)
lr_factor = None  # the learning rate is multiplied by this ...
lr_patience = None  # ... after so many epochs without a better validation mean IoU
stop_patience = None  # training ends after so many
seed = None
device = None  # auto | cpu | cuda | mps

# %%
from spider_utils import models, train, runs, figures

rates = {"schedule": schedule, "learning_rate": learning_rate, "lr_factor": lr_factor, "lr_patience": lr_patience, "stop_patience": stop_patience}
dealing = {"split": split, "folds": folds, "fold": fold, "split_seed": split_seed, "validation_share": validation_share, "train_slices": train_slices}
dealing |= {"train_sequences": train_sequences, "train_masks": train_masks}
training = {"epochs": epochs, "batch_size": batch_size, "augmentation": augmentation, "precision": precision, "seed": seed, "device": device}
training |= {"epoch_slices": epoch_slices, "balance": balance}
run = runs.open_run(run_dir, source, data_dir, profile, **rates, **dealing, **training)

# %% [markdown]
# ## 4.1 The settings of this run
#
# What the profile says, and what was set by hand above.

# %%
import pandas as pd

values = run.settings.flat()
network = ["model", "width", "activation", "initialiser", "deep_supervision", "neighbours", "train_height", "train_width"]
loss = ["loss", "focal_share", "gamma", "focal_reduction", "dice_over", "fp_weight", "boundary_share"]
wanted = ["split", "train_slices", *network, *training, *rates, *loss]
pd.Series({name: values[name] for name in wanted}, name="value").to_frame()

# %% [markdown]
# ## 4.2 Patients of each side
#
# Where patients are dealt, no number stands in two rows. Where slices are dealt at random, patients stand in two rows or in all: that split **leaks**, and
# is named so.

# %%
store, sides = run.store(), run.split()
print("split:", sides.label)
for side in ("train", "validation", "test"):
    print(f"{side:<11}{len(sides.rows(store.table, side)):>5} slices of patients {list(getattr(sides, side))}")

# %% [markdown]
# ## 4.3 What augmentation does to a slice
#
# The paper names no augmentation, and the default is none. With `light` or `strong` the network never sees the same slice twice: each epoch draws anew how the
# slice is moved and how its grey values change. The mask moves with its image. Slices are never flipped, since a spine has a front and a top.

# %%
import torch

rows, size = sides.rows(store.table, "train"), run.settings.training.size
row = rows[store.table.loc[rows, "n_discs"].argmax()]
image, mask = models.network_images(store.images[[row]], size) / 255, models.network_masks(store.masks[[row]], size).long()


# %%
def strongest(change, draws=1, seed=0):
    """Of some draws of a change of images and masks the one that changes the slice most: image (h, w) and mask."""
    torch.manual_seed(seed)
    images, masks = change(image.expand(draws, -1, -1, -1), mask.expand(draws, -1, -1))
    chosen = (images - image).abs().mean((1, 2, 3)).argmax()
    return images[chosen, 0].numpy(), masks[chosen].numpy()


# %%
as_it_is = strongest(train.augment.none)
draws = {level: [strongest(train.augment.LEVELS[level], seed=number) for number in range(3)] for level in ("light", "strong")}
figures.keep(figures.augmentation_levels(as_it_is, draws, source=run.source), run.figures, "04_augmentation")

# %% [markdown]
# **Figure 4.1** The slice as it is, and three draws of either level, all on one grey scale, with the outlines of their masks. What comes from outside the slice is
# black, and background.
#
# Now the changes of `strong` one at a time. In a batch each change of grey values meets half of the slices, the crop three in ten, and all are turned, scaled, shifted
# and bent; how strongly is drawn too. Here is the one of 16 draws that changes the slice most.

# %%
grey = {name: getattr(train.augment, name.replace(" ", "_")) for name in ("gamma", "contrast", "brightness", "bias field", "blur", "low resolution", "noise")}
elastic = train.augment.Motion(rotation=0, scaling=0, shift=0, elastic=train.augment.STRONG.elastic)
crop = train.augment.Motion(rotation=0, scaling=0, shift=0, crop=1.0, crop_size=train.augment.STRONG.crop_size)

# %%
changed = {name: strongest(lambda x, y, change=change: (change(x).clamp(0, 1), y), draws=16) for name, change in grey.items()}
moves = {"elastic": elastic, "crop along the spine": crop}
changed |= {name: strongest(lambda x, y, motion=motion: train.augment.moved(x, y, motion), draws=16) for name, motion in moves.items()}
figures.keep(figures.augmentation_changes(as_it_is, changed, source=run.source), run.figures, "04_augmentation_changes")

# %% [markdown]
# **Figure 4.2** Grey values change as another scanner, coil or protocol would change them. Elastic deformation bends the spine, and a crop brings a part of it nearer:
# these two change the mask too.

# %% [markdown]
# ## 4.4 Training
#
# A finished training is opened, one that was cut off goes on, otherwise it begins. After every epoch the log and the state are on disk.

# %% tags=["nbval-ignore-output"]
log = run.train()
log.filter(["epoch", "learning_rate", "train_loss", "val_loss", "val_mean_iou"]).tail().round(4)

# %%
assert log["epoch"].tolist() == list(range(1, len(log) + 1))
assert len(log) == 1 or log["train_loss"].iloc[-1] < log["train_loss"].iloc[0], "the training loss did not fall"

# %%
by_validation, validated = values["schedule"] == "plateau", "val_mean_iou" in log
kept = int(log.loc[log["val_mean_iou"].idxmax(), "epoch"]) if by_validation else len(log)
figures.keep(figures.training_curves(log, kept, source=run.source, loss_name=values["loss"]), run.figures, "04_training_curves")

# %% [markdown]
# **Figure 4.3** Loss and learning rate (left), IoU on the validation side (right), if there is one. Curves that nearly overlap are no proof
# of generalisation: they would also overlap if neighbouring slices of one patient stood on both sides.

# %% [markdown]
# ## 4.5 What was kept
#
# The weights of one epoch, the best by validation or with `cosine` the last, are a safetensors file, with a JSON beside it that says what they are.

# %% tags=["nbval-ignore-output"]
import json

checkpoint = run.path / "checkpoints" / "best.safetensors"
about = json.loads(checkpoint.with_suffix(".json").read_text())
print(f"{checkpoint.name}: {checkpoint.stat().st_size / 1e6:.1f} MB, epoch {about['best']['epoch']}")
pd.Series(about["best"]).round(4).to_frame("kept epoch")

# %%
assert about["best"]["epoch"] == kept
assert about["training"]["model"] == values["model"]

# %% [markdown]
# ## 4.6 Summary

# %% tags=["nbval-ignore-output"]
reached = f"{about['best']['val_mean_iou']:.3f}" if validated else "not measured, there is no validation side"
print(f"1. {len(log)} epochs of {values['epoch_slices'] or len(sides.rows(store.table, 'train'))} slices; the {'best' if by_validation else 'one kept'} was epoch {kept}.")
print(f"2. Validation mean IoU (background included, at the network's size): {reached}.")
print(f"3. Ended after {len(log)} of at most {values['epochs']} epochs; the test {'slices' if sides.leaky else 'patients'} have not been touched.")
if sides.leaky:
    print(f"4. Split: {sides.label}.")

# %%
as_committed = (run.source, run.profile) == ("sample", "smoke") and values["epochs"] == 24
assert not as_committed or not validated or about["best"]["val_mean_iou"] > 0.8, "the network has not learnt: look at the curves above"

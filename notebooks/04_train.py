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
# # 4 Train
#
# **The question of this notebook: how does the network learn, and when do we stop?** Afterwards you can write the training loop yourself, read its curves, say which
# epoch is kept and who has chosen it, and recognise a network that memorises. Words that are new to you stand in the [glossary](../docs/glossary.md).

# %%
from spider_utils import data, figures

patients = (5, 18, 22, 34, 41, 45)
stacks = [data.sample_stack(f"{patient}_t2_SPACE") for patient in patients]
images, masks = [stack.image[5] for stack in stacks], [stack.classes()[5] for stack in stacks]
titles = [f"patient {patient}" for patient in patients]
figures.slice_grid(images, masks, titles, source="sample", heading="What is learnt from")

# %% [markdown]
# **Figure 4.1** Slices of six patients, with the masks that the network is to give. No two spines are alike, and what was learnt on some must hold for others.
#
# ## Parameters
#
# `None` stands for what the profile, or the run folder, says.
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source`, `data_dir` | sample, phantom, released, pairs, spider (joined by +); a folder | the data; sample and phantom need no folder |
# | `run_dir`, `profile` | a folder; smoke, cpu, paper | where everything is kept; a file of settings |
# | `split`, `fold` | auto, official, patient_kfold, random_slice (**leaky**); from 0 | how patients are dealt; which fold is tested |
# | `epochs`, `batch_size` | 100 and 8 in the paper | passes over the training slices, at most; slices a step |
# | `learning_rate`, `schedule` | above 0; plateau, cosine | see 4.1 |
# | `seed`, `device` | a whole number; auto, cpu, cuda, mps | of weights, order and dropout; where it runs |
# | `more` | a dict, as `{"augmentation": "light"}` | any other setting of a run |

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
split = None
fold = None
epochs = None
batch_size = None
learning_rate = None
schedule = None
seed = None
device = None
more = None

# %%
from spider_utils import evaluate, models, runs, train

dealing = {"split": split, "fold": fold}
training = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "device": device}
training |= {"learning_rate": learning_rate, "schedule": schedule}
run = runs.open_run(run_dir, source, data_dir, profile, more, **dealing, **training)
print("source:", run.source, "| profile:", run.profile)

# %% [markdown]
# ## 4.1 The settings that matter
#
# - A *step* changes the weights a little, after the loss of one batch; an *epoch* is a pass over the training slices.
# - *Adam* is the rule of the step: against the gradient, with a step size of its own for each weight. The *learning rate* is the size of all steps.
# - The schedule *plateau* multiplies the learning rate by `lr_factor` when the validation score has not risen for more than `lr_patience` epochs.
# - *Early stopping*: training ends when it has not risen for `stop_patience` epochs. (With *cosine* the rate falls to 0 over all epochs, none is skipped.)
#
# Batch 8, at most 100 epochs and the loss are the paper's. The paper states neither the optimiser nor its numbers; these are ours.

# %%
import pandas as pd

values = run.settings.flat()
wanted = ["epochs", "batch_size", "epoch_slices", "learning_rate", "schedule"]
wanted += ["lr_factor", "lr_patience", "stop_patience", "loss", "augmentation"]
pd.Series({name: values[name] for name in wanted}, name="value").to_frame()

# %% [markdown]
# ## 4.2 Three sides, dealt by patient
#
# The *training* side is learnt from. The *validation* side chooses: the epoch that is kept, the learning rate, the end. So its score is the best of many and
# flatters. The *test* side is looked at once, in [notebook 5](05_evaluate.ipynb): a number that nothing was chosen by.
#
# Where patients are dealt, no patient's number stands in two rows. Where slices are dealt at random, patients stand in two rows or in all: that split **leaks**, and
# is named so.

# %%
store, sides = run.store(), run.split()
print("split:", sides.label)
for side in ("train", "validation", "test"):
    numbers = getattr(sides, side)
    count = len(sides.rows(store.table, side))
    print(f"{side}: {count} slices of {len(numbers)} patients, the first of them {numbers[:8]}")

# %% [markdown]
# ## 4.3 The training loop
#
# All of training is a dozen lines. To see them at work: a small network (4 channels at full resolution), slices of the training patients at 160 × 128, two epochs.

# %%
import torch

rows = sides.rows(store.table, "train")
rows = rows[:: 1 + len(rows) // 160]
images = models.network_images(store.images[rows], (160, 128))
masks = models.network_masks(store.masks[rows], (160, 128)).long()
print("slices:", tuple(images.shape), "masks:", tuple(masks.shape))

# %% [markdown]
# **Predict:** the loss lies between 0 and about 1. How far does it fall in two epochs?

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
network = models.build_model("paper_text", width=4)
optimiser = torch.optim.Adam(network.parameters(), lr=0.002)
for epoch in (1, 2):
    total = 0.0
    for batch in models.shuffled_batches(len(images), 8, seed=0, epoch=epoch):
        logits = network(models.to_input(images[batch], torch.device("cpu")))
        loss = train.losses.combined_loss(logits, masks[batch])  # how wrong is it?
        optimiser.zero_grad()
        loss.backward()  # which way does each weight have to go?
        optimiser.step()  # a small step that way
        total += loss.item() * len(batch)
    print(f"epoch {epoch}: mean loss {total / len(images):.3f}")

# %% [markdown]
# ## 4.4 The same with validation, schedule and log
#
# `run.train()` is this loop with the validation side after every epoch, the schedule, early stopping, and half precision on a GPU. After every epoch the log and the
# state are on disk: a training that was cut off goes on and ends as an uncut one, a finished one is opened.

# %% tags=["nbval-ignore-output"]
log = run.train()
log.filter(["epoch", "learning_rate", "train_loss", "val_loss", "val_mean_iou"]).tail().round(4)

# %%
assert log["epoch"].tolist() == list(range(1, len(log) + 1))
assert len(log) == 1 or log["train_loss"].iloc[-1] < log["train_loss"].iloc[0], "no learning"

# %% [markdown]
# The score of the validation side is the mean IoU of the four classes, pixels of all its slices pooled:
#
# $$\text{IoU} = \frac{|A \cap B|}{|A \cup B|}$$
#
# with $A$ the pixels that the reference gives a class, and $B$ those that the network gives it: 1 for the same pixels, 0 for none in common.
#
# **Predict:** which class is learnt last?

# %%
by_validation, validated = values["schedule"] == "plateau", "val_mean_iou" in log
kept = int(log.loc[log["val_mean_iou"].idxmax(), "epoch"]) if by_validation else len(log)
curves = figures.training_curves(log, kept, source=run.source, loss_name=values["loss"])
figures.keep(curves, run.figures, "04_training_curves")

# %% [markdown]
# **Figure 4.2** Loss and learning rate (left), IoU on the validation side (right), if there is one. The star is the epoch whose weights are kept: with `plateau` the one
# with the highest validation mean IoU, with `cosine` the last.
#
# A network that memorises, which is called *over-fitting*, shows here: its training loss goes on falling while the validation loss turns and rises. Curves that stay close prove nothing: the other way round
# is no proof. Curves that nearly overlap would also overlap if neighbouring slices of one patient stood on both sides.

# %% tags=["nbval-ignore-output"]
if validated:
    lowest = log.loc[log["val_loss"].idxmin()]
    print(f"validation loss: lowest in epoch {lowest['epoch']:.0f} ({lowest['val_loss']:.3f})")
    end = log.iloc[-1]
    print(f"at the end: validation {end['val_loss']:.3f}, training {end['train_loss']:.3f}")
    for name in data.FOREGROUND:
        found = log.loc[log[f"val_iou_{name}"] > 0.5, "epoch"]
        print(f"{name}: IoU above 0.5 from epoch {found.min() if len(found) else 'none'} on")
else:
    print("No validation side: over-fitting would not show.")

# %% [markdown]
# ## 4.5 One slice while the network learns
#
# One slice is segmented after every epoch, and the masks of epochs 1, 2, 5, 10, 20, 50, … and of the last are kept. It is of a validation patient where there is one,
# else of a training patient.
#
# **Predict:** what will the mask of epoch 1 look like?

# %% tags=["nbval-ignore-output"]
watched = run.watched_slice()
shown = sorted({1, 5, 10, max(watched.masks, default=0)} & set(watched.masks))
steps = [None, store.masks[watched.row], *(watched.masks[epoch] for epoch in shown)]
titles = ["slice", "reference", *(f"epoch {epoch}" for epoch in shown)]
patient = store.table["patient"][watched.row]
heading = f"A {watched.side} slice (patient {patient}) while the network learns"
slices = [store.images[watched.row]] * len(steps)
if not shown:
    print("This training was done before masks were kept: there are none to show.")
figure = figures.slice_grid(slices, steps, titles, source=run.source, heading=heading)
figures.keep(figure, run.figures, "04_epochs")

# %% [markdown]
# **Figure 4.3** The same slice after more and more epochs. At first classes are missing or lie all over the slice; then patches of structures appear, then whole ones; outlines
# and small parts get better to the end. (Where only slice and reference are shown, the training is older than this figure.)
#
# ## 4.6 What was kept
#
# The weights of one epoch are a safetensors file, with a JSON beside it that says what they are.

# %% tags=["nbval-ignore-output"]
import json

about = json.loads(run.checkpoint.with_suffix(".json").read_text())
assert about["best"]["epoch"] == kept and about["training"]["model"] == values["model"]
print(f"{run.checkpoint.name}: {run.checkpoint.stat().st_size / 1e6:.1f} MB")
pd.Series(about["best"]).round(4).to_frame("kept epoch")

# %% [markdown]
# ## 4.7 Exercises
#
# 1. A network calls every pixel background. On the masks of 4.3, what share of the pixels is right (*accuracy*), and what is the mean IoU of the four classes? Which of the
#    two would you stop a training by?
# 2. The learning rate is 0.001, `lr_factor` 0.5, `lr_patience` 2. The validation score goes 0.50, 0.60, 0.59, 0.60, 0.58. What is the learning rate after that?
# 3. Train a tiny network for two epochs, and another for one epoch, then go on to the second. Are their weights the same?

# %% tags=["solution", "hide-cell"]
# Solution 1: only background has an intersection; the other three classes have IoU 0.
accuracy = (masks == 0).float().mean().item()
mean_iou = (accuracy + 0 + 0 + 0) / 4  # the union of background and everything is everything
pairs = evaluate.confusion(masks.numpy(), torch.zeros_like(masks).numpy())
iou = pairs.diagonal() / (pairs.sum(0) + pairs.sum(1) - pairs.diagonal())
assert abs(iou.mean() - mean_iou) < 1e-6
print(f"accuracy {accuracy:.2f}, mean IoU {mean_iou:.2f}: accuracy hides that nothing was found")

# %% tags=["solution", "hide-cell"]
# Solution 2: epochs 3, 4 and 5 are no better than epoch 2; three are more than lr_patience.
by_hand = 0.001 * 0.5
weight = torch.nn.Parameter(torch.zeros(1))
adam = torch.optim.Adam([weight], lr=0.001)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, mode="max", factor=0.5, patience=2)
for score in (0.50, 0.60, 0.59, 0.60, 0.58):
    plateau.step(score)
assert adam.param_groups[0]["lr"] == by_hand
print(f"learning rate {by_hand}")

# %% tags=["solution", "hide-cell"]
# Solution 3: yes; order and dropout depend on the seed and the epoch's number alone.
from tempfile import TemporaryDirectory

with TemporaryDirectory() as uncut, TemporaryDirectory() as cut:
    for folder, last in ((uncut, 2), (cut, 1), (cut, 2)):
        tiny = train.TrainSettings(width=2, train_height=64, train_width=64, epochs=last)
        few = train.read_slices(store, rows[:24], tiny)
        train.train(tiny, lambda *_, few=few: few, folder, {}, f"{folder}/log.csv")
    files = [open(f"{folder}/last.safetensors", "rb").read() for folder in (uncut, cut)]
assert files[0] == files[1]
print("the same to the last bit")

# %% [markdown]
# ## 4.8 Summary

# %% tags=["nbval-ignore-output"]
chosen_by = "the best on the validation side" if by_validation else "the last"
print(f"1. Logits, loss, gradient, step: {len(log)} epochs of it (source: {run.source}).")
print(f"2. Kept: epoch {kept}, {chosen_by}. At most {values['epochs']} epochs were allowed.")
if validated and run.source != "phantom":
    print(f"3. Validation mean IoU {about['best']['val_mean_iou']:.3f}, background included.")
print(f"4. The test {'slices' if sides.leaky else 'patients'} have not been touched.")
if sides.leaky:
    print(f"5. Split: {sides.label}.")

# %%
as_committed = (run.source, run.profile) == ("sample", "smoke") and values["epochs"] == 24
learnt = not validated or about["best"]["val_mean_iou"] > 0.8
assert learnt or not as_committed, "the network has not learnt: look at the curves above"

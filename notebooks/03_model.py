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
# # 3 The network and its loss
#
# **The question of this notebook: what is the modified U-Net, what is its loss, and why these parts?** Afterwards you can say what each block does,
# what a skip connection carries, why the weights start as they do, and why Focal loss and Dice loss are added. Words that are new to you stand
# in the [glossary](../docs/glossary.md).

# %%
from spider_utils import data, figures

stack = data.sample_stack("41_t2_SPACE")
example, classes = stack.image[5], stack.classes()[5]
print(f"in: {example.shape} grey values, out: {classes.shape} numbers, each one of {data.CLASSES}")
figures.overlay(example, classes, "What goes in, and what must come out", source="sample")

# %% [markdown]
# **Figure 3.1** One slice of a real spine (T2 SPACE, a high-resolution MRI sequence; patient 41 of SPIDER). In goes one grey value a pixel, out must
# come one of four classes a pixel: 0 background, 1 vertebrae, 2 spinal canal, 3 discs. This is *segmentation*.
#
# ## Parameters
#
# `None` stands for what the profile, or the run folder, says.
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source`, `data_dir` | sample, phantom, released, pairs, spider (joined by +); a folder | the data; sample and phantom need no folder |
# | `run_dir`, `profile` | a folder; smoke, cpu, paper | where everything is kept; a file of settings |
# | `model`, `width` | paper_text, author_code, …; 16 in the paper | the network; its channels at full resolution |
# | `activation`, `initialiser` | published, relu, leaky_relu; glorot_uniform, he_normal | see 3.5 and 3.6 |
# | `focal_share`, `gamma` | 0.6 and 4 in the paper | see 3.7 |
# | `train_height`, `train_width` | 640 and 512 in the paper | the network's input in pixels, multiples of 32, not both 32 |
# | `more` | a dict, as `{"loss": "tversky"}` | any other setting of a run |

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
model = None
width = None
activation = None
initialiser = None
focal_share = None
gamma = None
train_height = None
train_width = None
more = None

# %%
from spider_utils import models, predict, present, runs, train

parts = {"model": model, "width": width, "activation": activation, "initialiser": initialiser}
loss_parts = {"focal_share": focal_share, "gamma": gamma}
size = {"train_height": train_height, "train_width": train_width}
run = runs.open_run(run_dir, source, data_dir, profile, more, **parts, **loss_parts, **size)
settings = run.settings.training
print(f"{settings.model}, width {settings.width}, {settings.activation}, {settings.initialiser}")
print(f"input: {settings.train_height} x {settings.train_width} (height x width)")

# %% [markdown]
# ## 3.1 The code
#
# A U-Net goes down to see more, and up again to say where. It is made of one block, used again and again. In words: a 3 × 3 *convolution* makes each new
# pixel a weighted sum of the nine pixels around it, in all channels. *Batch normalisation* brings each channel to mean 0 and spread 1 over
# the batch. *Leaky ReLU* bends the result (3.5). *Dropout* sets some values to 0 at random during training, which hinders memorising. The first three come twice, dropout between.
#
# On the way down *max pooling* keeps the largest of 2 × 2 pixels. On the way up a *transposed convolution* makes 2 × 2 pixels of one. The *skip
# connection* joins to it what the way down had at the same size (`torch.cat`). The last layer gives *logits*: four numbers a pixel, the largest wins.

# %%
import inspect

for part in (models.conv_block, models.upsample_block, models.PaperTextUNet.forward):
    print(inspect.getsource(part))

# %% [markdown]
# ## 3.2 Shapes along the path
#
# Each pooling halves height and width, and each level doubles the channels.
#
# **Predict:** the network pools five times. How many pixels are left in its deepest block, the *bottleneck*, of the input size printed above?

# %%
import numpy as np
import torch

torch.manual_seed(settings.seed)
network = settings.network()
store, split = run.store(), run.split()
rows = split.rows(store.table, "train")
fullest = store.table.iloc[rows].assign(space=lambda table: table["sequence"] == "T2_SPACE")
row = fullest.sort_values(["space", "n_discs"]).index[-1]
around = data.neighbour_rows(store.table, settings.neighbours)[[row]]
inputs = models.network_inputs(store.images, around, settings.size)
inputs = models.to_input(inputs, torch.device("cpu"))
stages, outputs = models.trace_stages(network, inputs)
print("input:", tuple(inputs.shape), "(slices, channels, height, width)")
print("logits:", tuple(outputs[-1].shape), f"| {models.count_parameters(network):,} parameters")

# %%
nested = settings.model == "unetpp"
figure = figures.nested_grid(network) if nested else figures.network_diagram(stages)
figures.keep(figure, run.figures, "03_network")

# %% [markdown]
# **Figure 3.2** The network of this run, with what leaves each block. Dashed: the skip connections, joined by concatenation. Most parameters sit in the
# deepest blocks, most pixels in the highest ones.
#
# ## 3.3 What a trained network sees
#
# A fresh network answers at random. The package ships one that has learnt: `paper_baseline`, the network of the paper's text with 8 channels at full
# resolution. Here are *feature maps* of it: the channels that leave three blocks, for one slice. The line above the figure says whether the network
# has met this patient in training; if it has, the maps show what was learnt and nothing about new patients.

# %%
trained = predict.ready_network("paper_baseline", "cpu")
slices = models.network_images(store.images[[row]], trained.size)
trained_stages, maps = models.trace_stages(trained.model, models.to_input(slices, trained.device))
maps = {stage.name: each for stage, each in zip(trained_stages, maps, strict=True)}
chosen = {name: maps[name][0].numpy() for name in ("encoder 1", "bottleneck", "decoder 1")}
patient = store.table["patient"][row]
known = patient in trained.description["trained_on"]["patients"]
print(f"patient {patient} of '{run.source}'; trained on SPIDER's patient {patient}: {known}")
grey = slices[0, 0].numpy()
figures.keep(figures.feature_maps(grey, chosen, source=run.source), run.figures, "03_feature_maps")

# %% [markdown]
# **Figure 3.3** Encoder 1 answers to edges and tissues: it knows where, but not what. The bottleneck has 10 rows and 8 columns of pixels left: it
# knows what, but hardly where. Decoder 1 has both: some of its maps are nearly masks.
#
# **Predict:** decoder 1 is fed by two sources, the skip connection from encoder 1 and the maps that come up from decoder 2. Which are sharp, and
# which tell structures apart?

# %%
with torch.no_grad():
    up = trained.model.upsample[0](maps["decoder 2"])
truth = models.network_masks(store.masks[[row]], trained.size).long()
left = int(truth[0].nonzero()[:, 1].float().mean()) - 48
zoom = np.s_[..., 100:220, left : left + 96]
joined = {"skip": maps["encoder 1"][0].numpy()[zoom], "from below": up[0].numpy()[zoom]}
heading = "What is joined before decoder 1: the skip's maps and those from below"
figure = figures.feature_maps(grey[zoom], joined, heading, shown=4, source=run.source)
figures.keep(figure, run.figures, "03_skip")

# %% [markdown]
# **Figure 3.4** A part of the slice. What a skip connection carries: fine edges at full resolution, of everything that has an edge. The maps from below were
# computed at half the resolution and enlarged: they tell structures apart, but their outlines are coarse, and the chequered pattern comes from
# the transposed convolution, which makes 2 × 2 pixels of one. The block after them puts the two together. Without skips the place of an edge would have to survive five poolings.
#
# ## 3.4 Text and code part
#
# The authors' public code builds another network than their text describes. Here are both, by name, at the paper's 16 channels and this run's input size.

# %%
fresh_slices = inputs[:, :1]
both = {name: models.build_model(name) for name in ("paper_text", "author_code")}
figures.keep(figures.compare_networks(both, fresh_slices), run.figures, "03_text_and_code")

# %% [markdown]
# **Figure 3.5** One tile a layer, down at the left of each network, up at the right. The text normalises before each of its Leaky ReLUs. The code has ReLU, and one
# batch normalisation a block. It does not pool before its 512 channels. Where the text is silent, as on the size of transposed convolutions,
# `paper_text` is the usual U-Net. With the same weights `author_code` gives what the authors' Keras network gives; a test checks it.
#
# The same as numbers; the code's two counts of parameters are those of the public Keras model:

# %%
import pandas as pd

facts = {name: models.network_facts(each, fresh_slices) for name, each in both.items()}
facts = pd.DataFrame(facts).head(12)
facts.map(lambda value: value if isinstance(value, str) else f"{value:,}")

# %% [markdown]
# ## 3.5 Leaky ReLU
#
# $$f(x) = \begin{cases} x & x > 0 \\ 0.1\,x & x \le 0 \end{cases}$$
#
# Here $x$ is one value of one channel. Without a bend between them two convolutions would be one. ReLU puts 0 in the place of $0.1\,x$: it passes nothing
# back where its input is negative, and a unit whose inputs are always negative stops learning. Leaky ReLU lets a tenth of the gradient through.

# %%
figures.keep(figures.activation_curves(models.LEAKY_SLOPE), run.figures, "03_activation")

# %% [markdown]
# **Figure 3.6** Both activations and their gradients.
#
# ## 3.6 Glorot uniform initialisation
#
# Before training the weights are drawn at random. Too small, and the signal dies on its way through the layers; too large, and it explodes. Glorot's rule draws
# each weight evenly from
#
# $$W \sim U[-a,\ a], \qquad a = \sqrt{\frac{6}{n_{\text{in}} + n_{\text{out}}}}$$
#
# $n_{\text{in}}$ is the number of values that enter a sum (input channels × 9 for a 3 × 3 convolution), $n_{\text{out}}$ the same for the output channels. The
# variance of such a weight is $a^2/3 = 2/(n_{\text{in}} + n_{\text{out}})$, a compromise: the signal on its way forward asks for $1/n_{\text{in}}$, the gradient on its way
# back for $1/n_{\text{out}}$. He's rule has the variance $2/n_{\text{in}}$, since ReLU silences half of the values.
#
# **Predict:** the same slice goes through fresh networks, six blocks deep. Which rule keeps the spread of the signal?

# %%
rules = {
    "Glorot uniform": torch.nn.init.xavier_uniform_,
    "He normal": lambda weight: torch.nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "normal, σ = 0.01": lambda weight: torch.nn.init.normal_(weight, std=0.01),
    "normal, σ = 0.2": lambda weight: torch.nn.init.normal_(weight, std=0.2),
}
spread = {}
for name, fill in rules.items():
    torch.manual_seed(settings.seed)
    fresh = settings.network()
    for layer in [each for each in fresh.modules() if isinstance(each, torch.nn.Conv2d)]:
        fill(layer.weight)
    passed = models.trace_stages(fresh, inputs)[1][: len(fresh.encoder)]
    spread[name] = [float(output.std()) for output in passed]
figures.keep(figures.init_spread(spread), run.figures, "03_glorot")

# %% [markdown]
# **Figure 3.7** Spread of the activations after each encoder block before any training, on a logarithmic axis. He's rule keeps it. Glorot's lets it shrink slowly: it does not
# reckon with the activation, and where channels double it takes a third of He's variance. The other two die out or explode.
#
# Batch normalisation does nothing in this figure (its averages are untrained). In training it rescales every block. So is He's start the better one?
# **Predict**, then see what was measured on patients that the network had not met:

# %%
from IPython.display import display

starts = present.table("choices/differences").query("aggregation == 'pooled'")
starts = starts[starts["arm"] == "he_normal"]
columns = ["class", "difference", "ci_low", "ci_high", "patients", "epoch"]
display(starts[columns].round(3).reset_index(drop=True))
present.tell(
    "With He's start in the place of Glorot's the mean Dice of the three structures changed by "
    "{he_interval}: it fell. One seed, small networks, short trainings. A signal that keeps its "
    "spread before training is not by itself a better start."
)

# %% [markdown]
# ## 3.7 The combined loss
#
# The *loss* says how wrong the network is; training makes it smaller. Take one pixel, and let $p$ be the probability that the network gives its true class.
#
# $$\text{cross-entropy} = -\log p \qquad\qquad \text{Focal} = (1 - p)^{\gamma}\,(-\log p)$$
#
# Cross-entropy is large where $p$ is small. Focal loss multiplies it by the weight $(1-p)^\gamma$, the *focal weight*: close to 1 for a pixel that is wrong, close to 0 for one that
# is right already. $\gamma$ (gamma, 4 in the paper) says how strongly; with $\gamma = 0$ it is cross-entropy. The mean over all pixels is taken.

# %%
figures.keep(figures.focal_curves(), run.figures, "03_focal")

# %% [markdown]
# **Figure 3.8** One pixel's loss against $p$. With γ = 4 a pixel at $p = 0.9$ counts ten thousand times less than under cross-entropy.
#
# **Predict:** on the slice of above, with the trained network, where will the focal weight be large?

# %%
probabilities = torch.softmax(maps["head"], dim=1)
right = probabilities.gather(1, truth[:, None])[0, 0].numpy()
weight = (1 - right) ** settings.gamma
print(f"weight below 0.01: {100 * (weight < 0.01).mean():.0f} % of the pixels")
figure = figures.focal_map(grey, truth[0].numpy(), right, settings.gamma, source=run.source)
figures.keep(figure, run.figures, "03_focal_map")

# %% [markdown]
# **Figure 3.9** What the trained network is right about has no weight any more: Focal loss learns from outlines and from structures that are missed or invented. (Has the
# network met this patient in training? See the line above Figure 3.3.)
#
# Dice loss looks at whole structures. For class $c$ let $y_{ic}$ be 1 where pixel $i$ is of that class and else 0, and $p_{ic}$ the network's probability for it:
#
# $$\text{Dice loss} = 1 - \frac{1}{4} \sum_{c} \frac{2 \sum_i y_{ic}\,p_{ic}}{\sum_i y_{ic} + \sum_i p_{ic}}
# \qquad\qquad \text{combined} = 0.6\ \text{Focal} + 0.4\ \text{Dice loss}$$
#
# The fraction is twice the overlap over the two sizes: 1 for a perfect mask, 0 for none in common. Each class has a quarter of the loss, be it large or
# small. To see both terms at work, give every pixel's true class the same probability, from wrong to right:

# %%
target = models.network_masks(store.masks[[row]], settings.size).long()
one_hot = torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
probability = np.linspace(0.02, 0.98, 49)
terms = {"Focal": [], "Dice": [], "combined": []}
for p in probability:
    logits = torch.log(one_hot * p + (1 - one_hot) * (1 - p) / 3)
    focal = train.losses.focal_loss(logits, target, settings.gamma).item()
    dice = train.losses.dice_loss(logits, target).item()
    both_terms = settings.focal_share * focal + (1 - settings.focal_share) * dice
    for name, value in zip(terms, (focal, dice, both_terms), strict=True):
        terms[name].append(value)
heading = "One mask, two terms and their sum"
figure = figures.loss_terms(probability, terms, "Probability of the true class", heading)
figures.keep(figure, run.figures, "03_loss_terms")

# %% [markdown]
# **Figure 3.10** With γ = 4 the focal term is almost zero above $p = 0.6$. What still pushes the probabilities up is the Dice term: hence their sum.
#
# Which class does each term pull at? The share of the gradient (the push on the logits) that lands on the pixels of each class, at the start of
# training:
#
# **Predict:** most pixels are background. Does the background get most of the push from both terms?

# %%
start = network(inputs).detach()
start = start[-1] if start.ndim == 5 else start  # the last head of deep supervision
pull = {"pixels": 100 * one_hot.mean((0, 2, 3))}
for name, term in {"Focal": train.losses.focal_loss, "Dice": train.losses.dice_loss}.items():
    logits = start.clone().requires_grad_()
    term(logits, target).backward()
    push = logits.grad.abs().sum(dim=1)
    pull[name] = [100 * (push[target == number].sum() / push.sum()).item() for number in range(4)]
shares = pd.DataFrame(pull, index=data.CLASSES)
shares.round(0).astype(int).add_suffix(" %")

# %% [markdown]
# Focal follows the number of pixels at the start: no pixel is right yet, so every pixel counts. Dice gives vertebrae, canal and discs more than their share of
# pixels. The paper states γ as 4 in one sentence and as 0.4 in another, and names class weights without values; we take 4 and no weights. What each of
# these choices is worth, and other losses, are the subject of [notebook 7](07_improve.ipynb).
#
# ## 3.8 Exercises
#
# 1. Count the parameters of a 3 × 3 convolution from 8 to 16 channels by hand, its biases included. Does PyTorch agree?
# 2. A slice of 2 × 2 pixels and two classes: the lower row is class 1. The network gives class 1 the probabilities 0 and 0.5 above, 1 and 1 below. What is
#    the Dice loss?
# 3. From which interval does Glorot's rule draw the weights of this run's first convolution? Does a weight of the fresh network lie outside?

# %% tags=["solution", "hide-cell"]
# Solution 1: each of 16 output channels has 9 weights for each of 8 input channels, and one bias.
by_hand = 16 * (9 * 8 + 1)
assert by_hand == models.count_parameters(torch.nn.Conv2d(8, 16, kernel_size=3))
print(f"{by_hand:,} parameters")

# %% tags=["solution", "hide-cell"]
# Solution 2: the Dice of either class is twice the overlap over the sum of both sizes.
class_0 = 2 * (1 + 0.5) / (2 + 1.5)
class_1 = 2 * (1 + 1) / (2 + 2.5)
by_hand = 1 - (class_0 + class_1) / 2
p_1, reference = torch.tensor([[0, 0.5], [1, 1]]), torch.tensor([[[0, 0], [1, 1]]])
logits = torch.stack([1 - p_1, p_1]).clamp_min(1e-9).log()[None]
assert abs(train.losses.dice_loss(logits, reference).item() - by_hand) < 1e-5
print(f"Dice loss {by_hand:.3f}")

# %% tags=["solution", "hide-cell"]
# Solution 3: n_in is 9 times the input channels, n_out 9 times the output channels.
first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
a = np.sqrt(6 / (9 * first.in_channels + 9 * first.out_channels))
largest = first.weight.abs().max().item()
assert settings.initialiser != "glorot_uniform" or largest <= a
print(f"interval: -{a:.3f} to {a:.3f}; largest weight: {largest:.3f}")

# %% [markdown]
# ## 3.9 Summary

# %%
assert np.isclose(shares["pixels"].sum(), 100) and len(stages) > 2
present.tell(
    "1. The network goes down six levels to see what there is and up again to say where; "
    "skip connections carry the fine edges past the poolings.\n"
    "2. The authors' text and code describe two networks; both are here, by name.\n"
    "3. He's start keeps the spread of the signal, Glorot's does not quite; and yet He's cost "
    "Dice: {he_interval} (one seed, short trainings).\n"
    "4. Focal loss turns down what is right already, Dice loss gives every class a quarter.\n"
    "5. Focal's first push follows the number of pixels, Dice's reaches small structures too."
)

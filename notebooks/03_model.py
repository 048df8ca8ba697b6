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
# # 3 The network and its loss
#
# **The question of this notebook: what is the modified U-Net, and why these parts?** We read its code, draw it, send a slice through
# it, and measure what Leaky ReLU, Glorot initialisation and each loss term do.

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper
model = None  # a name of models.MODELS
width = None  # channels at full resolution; 16 in the paper
activation = None  # published (what the network's source has) | relu | leaky_relu
initialiser = None  # glorot_uniform (the paper) | he_normal
deep_supervision = None  # true: a loss at every head of unetpp
neighbours = None  # slices on either side that the network sees as channels ("2.5D"); 0 in the paper
train_height = None  # the network's input, pixels
train_width = None
loss = None  # combined (the paper) | another of train.losses.LOSSES
focal_share = None  # 0.6 in the paper
gamma = None  # 4 in the paper
focal_reduction = None  # mean (over pixels) | sum (over the pixels of an image)
dice_over = None  # batch (all its pixels as one set) | image (each one's Dice, then their mean)
fp_weight = None  # of a false pixel in the Tversky losses, 1 less this of a missed one
boundary_share = None  # of the boundary loss at the last epoch

# %%
from spider_utils import data, models, train, runs, figures, present

parts = {"model": model, "width": width, "activation": activation, "initialiser": initialiser}
parts |= {"deep_supervision": deep_supervision, "neighbours": neighbours}
loss_parts = {"loss": loss, "focal_share": focal_share, "gamma": gamma, "focal_reduction": focal_reduction, "dice_over": dice_over}
loss_parts |= {"fp_weight": fp_weight, "boundary_share": boundary_share}
size = {"train_height": train_height, "train_width": train_width}
run = runs.open_run(run_dir, source, data_dir, profile, **parts, **loss_parts, **size)
settings = run.settings.training
print(f"{settings.model}, width {settings.width}, input {settings.train_height} x {settings.train_width} (height x width)")
print(f"activation: {settings.activation}, initialiser: {settings.initialiser}")

# %% [markdown]
# ## 3.1 The code
#
# A U-Net goes down to see more and up again to say where. One block of this one is two convolutions, each with batch normalisation and
# Leaky ReLU, and dropout between them:

# %%
import inspect

print(inspect.getsource(models.conv_block))

# %% [markdown]
# On the way up the image grows by a transposed convolution, which the paper gives its own batch normalisation and Leaky ReLU:

# %%
print(inspect.getsource(models.upsample_block))

# %% [markdown]
# The whole network is these blocks and the skip connections between them. It ends in *logits*; the softmax is part of the loss.

# %%
print(inspect.getsource(models.PaperTextUNet.forward))

# %% [markdown]
# ## 3.2 Shapes along the path
#
# The paper's text names 16 to 512 channels. At that width the network has this many trainable parameters; this run uses its own width.

# %%
import torch

torch.manual_seed(settings.seed)
network = settings.network()
for channels in (16, settings.width):
    print(f"width {channels:>2}: {models.count_parameters(models.build_model(settings.model, width=channels)):>9,} parameters")

# %% [markdown]
# One slice of the training patients goes in; every stage's output shape is (channels, height, width).

# %%
store, split = run.store(), run.split()
rows = split.rows(store.table, "train")
row = rows[store.table.loc[rows, "n_discs"].argmax()]
images = models.network_images(store.images[[row]], settings.size)
around = data.neighbour_rows(store.table, settings.neighbours)[[row]]
inputs = models.to_input(models.network_inputs(store.images, around, settings.size), torch.device("cpu"))  # the slice alone, but for 2.5D

# %%
stages, outputs = models.trace_stages(network, inputs)
for stage in stages:
    print(f"{stage.name:<12}{stage.channels:>4} x {stage.height:>3} x {stage.width:>3}")

# %%
figures.keep(figures.nested_grid(network) if settings.model == "unetpp" else figures.network_diagram(stages), run.figures, "03_network")

# %% [markdown]
# **Figure 3.1** The network of this run. Dashed: the skip connections, joined by concatenation.
#
# Next, some of the feature maps of this slice:

# %%
chosen = {stages[k].name: outputs[k][0].numpy() for k in (0, 2, len(stages) - 2)}
figures.keep(figures.feature_maps(images[0, 0].numpy(), chosen, source=run.source), run.figures, "03_feature_maps")

# %% [markdown]
# **Figure 3.2** Feature maps before any training: random filters already respond to edges and tissue.

# %% [markdown]
# ## 3.3 Text and code part
#
# The authors' public code builds another network than their text describes. Here are both, by name, at the paper's 16 channels. The same
# slice goes through them, and every layer that it passes becomes a tile.

# %%
slices = models.to_input(images, torch.device("cpu"))
both = {name: models.build_model(name) for name in ("paper_text", "author_code")}
figures.keep(figures.compare_networks(both, slices), run.figures, "03_text_and_code")

# %% [markdown]
# **Figure 3.3** Down at the left of each network, up at the right. The text's network normalises before each of its Leaky ReLUs. The code's has
# ReLU, and one batch normalisation a block, after the first of them. It does not pool before its 512 channels, so its deepest block works at twice
# the resolution, and its last decoder has 32 channels. Only its first transposed convolution, 3 × 3 (T3), is followed by batch normalisation and
# Leaky ReLU. Where the text is silent, as on the size of transposed convolutions, `paper_text` is the usual U-Net.
#
# The same as numbers, counted from the layers in use. The code's 8,033,588 and 8,037,076 are those of the public Keras model. What PyTorch calls
# momentum 0.01, Keras calls 0.99.

# %%
import pandas as pd

facts = pd.DataFrame({name: models.network_facts(each, slices) for name, each in both.items()})
facts.map(lambda value: value if isinstance(value, str) else f"{value:,}")

# %% [markdown]
# One trap of the port cannot be counted. To double the resolution exactly, Keras' "same" padding cuts the last row and column of a strided
# 3 × 3 transposed convolution; PyTorch's `padding=1, output_padding=1` cuts the first. The two ways:

# %%
doublings = {
    "Keras, same": models.SameConvTranspose(1, 1),
    "PyTorch, padding=1, output_padding=1": torch.nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1),
}

# %% [markdown]
# With all weights one, a single bright pixel in the middle of 3 × 3 becomes a 3 × 3 square in 6 × 6:

# %%
impulse = torch.zeros(1, 1, 3, 3)
impulse[0, 0, 1, 1] = 1
for name, layer in doublings.items():
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    print(name, layer(impulse)[0, 0].int().numpy(), sep="\n")

# %% [markdown]
# PyTorch's square lies one pixel further up and to the left. A network trained afresh can learn either; one that takes over Keras' weights would see
# the layer's output shifted against its skip connection. `author_code` cuts as Keras does: with the weights of a Keras build of the same
# description it gives the same softmax to 1e-4, which `tests/test_author_code.py` checks.

# %% [markdown]
# ## 3.4 Leaky ReLU
#
# ReLU passes nothing back where its input is negative. Leaky ReLU lets a tenth through, so no unit falls silent for good.

# %%
figures.keep(figures.activation_curves(models.LEAKY_SLOPE), run.figures, "03_activation")

# %% [markdown]
# **Figure 3.4** Both activations and their gradients. How often does it matter? The share of negative inputs at each activation of this
# fresh network is the share of gradients that ReLU would stop. (Batch normalisation centres what comes in, so it must be near one half.)

# %%
negative = []
hooks = [
    module.register_forward_hook(lambda _, inputs, __: negative.append((inputs[0] < 0).float().mean().item()))
    for module in network.modules()
    if isinstance(module, torch.nn.LeakyReLU | torch.nn.ReLU)
]
network.train()(inputs)
for hook in hooks:
    hook.remove()
print(f"{len(negative)} activations, negative inputs: {100 * min(negative):.0f} to {100 * max(negative):.0f} %")


# %% [markdown]
# ## 3.5 Glorot uniform initialisation
#
# Weights drawn too small make the signal die out on its way, too large make it explode. Glorot's rule takes the width of the interval from
# the number of inputs and outputs of a layer. We send the same slice through the same convolutions with three ways to fill them:

# %%
def spread_of(fill):
    """Standard deviation after each encoder block of a fresh network whose convolutions `fill` has filled."""
    torch.manual_seed(settings.seed)
    fresh = settings.network()
    for module in fresh.modules():
        if isinstance(module, torch.nn.Conv2d):
            fill(module.weight)
    _, passed = models.trace_stages(fresh, inputs)
    return [float(output.std()) for output in passed[: len(fresh.encoder)]]


# %% [markdown]
# Glorot's rule against a normal distribution that is too narrow and one that is too wide:

# %%
fills = {
    "Glorot uniform": torch.nn.init.xavier_uniform_,
    "normal, σ = 0.01": lambda weight: torch.nn.init.normal_(weight, std=0.01),
    "normal, σ = 0.2": lambda weight: torch.nn.init.normal_(weight, std=0.2),
}

spread = {name: spread_of(fill) for name, fill in fills.items()}
figures.keep(figures.init_spread(spread), run.figures, "03_glorot")

# %% [markdown]
# **Figure 3.5** Spread of the activations after each encoder block, before any training, with batch normalisation at its untrained averages (it does
# nothing). In training it rescales every block, which is not shown here.

# %% [markdown]
# ## 3.6 The combined loss
#
# The paper adds 0.6 parts Focal loss and 0.4 parts Dice loss. Focal turns down pixels that are already right; Dice looks at whole
# structures, however small. The paper gives gamma as 4.0 in one sentence, "alpha and gamma" as 0.6 and 0.4 in another, and weights per class
# without values; we take 4.0 and no weights.

# %%
print(inspect.getsource(train.losses.focal_loss))
print(inspect.getsource(train.losses.dice_loss))

# %%
figures.keep(figures.focal_curves(), run.figures, "03_focal")

# %% [markdown]
# **Figure 3.6** One pixel's focal loss. With γ = 4 a pixel at p = 0.9 counts ten thousand times less than under cross-entropy.
#
# Now both terms on one mask of the store: the network gives every pixel's true class the probability p, from wrong to right.

# %%
import numpy as np

target = models.network_masks(store.masks[[row]], settings.size).long()
truth = torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
combined = train.losses.make_loss("combined", **{name: getattr(settings, name) for name in train.losses.COMBINED})

# %% [markdown]
# The sweep over p:

# %%
probability = np.linspace(0.02, 0.98, 49)
terms = {"Focal": [], "Dice": [], "combined": []}
for p in probability:
    logits = torch.log(truth * p + (1 - truth) * (1 - p) / 3)
    terms["Focal"].append(train.losses.focal_loss(logits, target, settings.gamma, settings.focal_reduction).item())
    terms["Dice"].append(train.losses.dice_loss(logits, target, over=settings.dice_over).item())
    terms["combined"].append(combined(logits, target).item())

# %%
heading = f"{settings.focal_share:g} Focal + {1 - settings.focal_share:g} Dice on one mask"
figures.keep(figures.loss_terms(probability, terms, "Probability of the true class, every pixel", heading), run.figures, "03_loss_terms")

# %% [markdown]
# **Figure 3.7** With γ = 4 and the mean over pixels the focal term is almost zero above p = 0.6; what still pushes the probabilities up is the
# Dice term.
#
# Where paper and formula leave a choice, each way has a name: `gamma` is 4.0 or the 0.4 of the other sentence; `focal_reduction` takes the *mean* over all
# pixels or, as the formula is written, the *sum* over an image's pixels; `dice_over` takes the pixels of the whole *batch* as one set or the Dice of each
# *image* and then their mean. The combined loss under all of them, for a batch of two slices: the mask above at p = 0.9, and the training slice with
# the smallest discs at p = 0.6.

# %%
small = rows[store.table.loc[rows, "n_discs"].argmin()]
pair = models.network_masks(store.masks[[row, small]], settings.size).long()
pair_truth = torch.nn.functional.one_hot(pair, 4).movedim(-1, 1).float()
confidence = torch.tensor([0.9, 0.6]).reshape(2, 1, 1, 1)
pair_logits = torch.log(pair_truth * confidence + (1 - pair_truth) * (1 - confidence) / 3)

# %%
options = [(exponent, reduction, over) for exponent in (4.0, 0.4) for reduction in train.losses.REDUCTIONS for over in train.losses.DICE_SETS]
values = [train.losses.combined_loss(pair_logits, pair, settings.focal_share, *option).item() for option in options]
by_option = pd.Series(values, index=pd.MultiIndex.from_tuples(options, names=["gamma", "focal_reduction", "dice_over"]), name="loss")
by_option.unstack().round(4)

# %% [markdown]
# The sum is the mean times the number of pixels, so that beside it the Dice term all but disappears: then 0.6 and 0.4 are no shares any more. With γ = 0.4 the
# focal term keeps its weight on pixels that are nearly right. Batch and image differ little while every slice shows every class.
#
# And which class does each term pull at? The share of the gradient that lands on each class's pixels, at the start of training:

# %%
start, pull = network(inputs).detach(), {}
start = start[-1] if start.ndim == 5 else start  # the last head of deep supervision
for name, term in {"Focal": lambda z: train.losses.focal_loss(z, target, settings.gamma), "Dice": lambda z: train.losses.dice_loss(z, target)}.items():
    logits = start.clone().requires_grad_()
    term(logits).backward()
    size_of = logits.grad.abs().sum(dim=1)
    pull[name] = [100 * (size_of[target == k].sum() / size_of.sum()).item() for k in range(4)]
shares = pd.DataFrame(pull, index=data.CLASSES).assign(pixels=100 * truth.mean((0, 2, 3)).numpy())
shares.round(0).astype(int).add_suffix(" %")

# %% [markdown]
# ## 3.7 What each choice is worth
#
# The study `choices` trains the paper's text and, one at a time, each alternative on the 622 released slices, always for the same steps, and scores patients
# that the network has not met. (Whatever data this notebook runs on, these are the tables under `results/` of the repository.)

# %%
published = present.RESULTS / "choices"  # there in a checkout of the repository, not in an installed package
tables = {name: pd.read_csv(published / f"{name}.csv") for name in ("dice", "differences")} if published.is_dir() else None
print((published / "command.txt").read_text() if tables else "No results/ here: read this section in the repository.")

# %%
figure = figures.keep(figures.differences(tables["differences"], tables["dice"], source="released"), run.figures, "03_choices") if tables else None
figure

# %% [markdown]
# **Figure 3.8** Foreground Dice against the paper's text, paired by patient. An interval that holds 0 shows no difference. Networks are small, trainings short, one seed: the intervals hold how patients differ, not how trainings do.

# %%
if tables:
    gains = tables["differences"].query("aggregation == 'pooled' and `class` == 'foreground'").set_index("arm")
    for title, arms in {"better": gains[gains["ci_low"] > 0], "worse": gains[gains["ci_high"] < 0]}.items():
        found = [f"{arm} {row['difference']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" for arm, row in arms.iterrows()]
        print(f"{title} than the paper's text: {', '.join(found) or 'none'}")

# %% [markdown]
# The defaults stay the paper's where it states one (0.6 and 0.4, γ = 4). Where it does not, the lines above decide: the mean over pixels, and Dice over the batch.

# %% [markdown]
# ## 3.8 Beyond the paper: other networks
#
# Later networks keep the U-Net's levels and change one idea each. `spider_utils/models/variants.py` builds them from the same blocks, with the same width,
# dropout and initialisation as the paper's text, so that a comparison shows the idea and nothing else. Multiply-adds are those of all convolutions for
# one slice, at this run's width and input size.

# %%
changes = {
    "paper_text": "the paper's text (Ahmed et al. 2025)",
    "author_code": "the authors' code (Ahmed et al. 2025)",
    "attention": "gates on the skips (Oktay et al. 2018)",
    "unetpp": "nested skips (Zhou et al. 2018)",
    "unetpp, deep": "and a loss at every head (Zhou et al. 2018)",
    "residual": "a shortcut round each block (He et al. 2016)",
    "paper_text, 2.5D": "a slice on either side as channels",
}

# %%
options = {name: {"name": name} for name in models.MODELS}
options |= {"unetpp, deep": {"name": "unetpp", "deep_supervision": True}, "paper_text, 2.5D": {"name": "paper_text", "in_channels": 3}}
known = {name: models.build_model(width=settings.width, **options[name]) for name in changes}
costs = pd.DataFrame({"change": changes, "parameters": {name: models.count_parameters(each) for name, each in known.items()}})

# %% [markdown]
# The ratio is against the paper's text:

# %%
seen = {name: slices.expand(-1, options[name].get("in_channels", 1), -1, -1) for name in known}
costs["multiply-adds"] = {name: models.multiply_adds(each, seen[name]) for name, each in known.items()}
costs["ratio"] = (costs["multiply-adds"] / costs.loc["paper_text", "multiply-adds"]).round(2)
costs.assign(**{name: costs[name].map("{:,}".format) for name in ("parameters", "multiply-adds")})

# %%
figures.keep(figures.nested_grid(known["unetpp, deep"]), run.figures, "03_unetpp")

# %% [markdown]
# **Figure 3.9** U-Net++ fills the U-Net's triangle: what the U-Net joins by one long skip goes through a row of blocks. Most of its work is done in the
# upper rows, at high resolution, which is why its multiply-adds grow so much more than its parameters.
#
# An attention gate looks at the skip's features and at those from the level below, and multiplies each pixel by a weight between 0 and 1. The gates of a fresh
# network say nothing yet, so this one is trained first, briefly: 96 steps of 4 slices, at width 8 and 160 × 128, whatever the run's settings are.

# %%
torch.manual_seed(0)
gated, small_size = models.build_model("attention", width=8).train(), (160, 128)
chosen_rows = rows[np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int)]
small_images, small_masks = models.network_images(store.images[chosen_rows], small_size), models.network_masks(store.masks[chosen_rows], small_size).long()
batches = [batch for epoch in range(96) for batch in models.shuffled_batches(len(chosen_rows), 4, seed=0, epoch=epoch)][:96]

# %% tags=["nbval-ignore-output"]
optimiser, course = torch.optim.Adam(gated.parameters(), lr=0.003), []
for batch in batches:
    value = train.losses.combined_loss(gated(models.to_input(small_images[batch], torch.device("cpu"))), small_masks[batch])
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    course.append(value.item())
print(f"{len(course)} steps, loss {course[0]:.2f} to {np.mean(course[-10:]):.2f} (mean of the last 10)")

# %%
assert np.mean(course[-10:]) < course[0]
small_image = models.network_images(store.images[[row]], small_size)
gates = [weights[0, 0].numpy() for weights in models.attention_maps(gated, models.to_input(small_image, torch.device("cpu")))]
heading = f"Attention gates after {len(course)} training steps"
figures.keep(figures.attention_overlay(small_image[0, 0].numpy(), gates, heading, source=run.source), run.figures, "03_attention")

# %% [markdown]
# **Figure 3.10** What each gate lets through; level 1 is the full resolution. A gate at 1.00 everywhere has learnt nothing that concatenation does not do.
# The mean weight on the spine and elsewhere:

# %% tags=["nbval-ignore-output"]
on_spine = models.network_masks(store.masks[[row]], small_size)[0].numpy() > 0
enlarged = [np.kron(weights, np.ones([len(on_spine) // len(weights)] * 2)) for weights in gates]
means = {f"level {k}": (each[on_spine].mean(), each[~on_spine].mean()) for k, each in enumerate(enlarged, start=1)}
pd.DataFrame(means, index=["on the spine", "elsewhere"]).round(2)

# %% [markdown]
# ## 3.9 Beyond the paper: other losses
#
# Each is the paper's, or a well-known one, in a special case. That is the quickest check of a loss, here on random logits:

# %%
torch.manual_seed(0)
noise = torch.randn(1, 4, *settings.size)
pairs = {
    "Focal, γ = 0, is cross-entropy": (train.losses.focal_loss(noise, target, 0.0), torch.nn.functional.cross_entropy(noise, target)),
    "Tversky, false-pixel weight 0.5, is Dice": (train.losses.tversky_loss(noise, target, 0.5), train.losses.dice_loss(noise, target)),
    "focal Tversky, exponent 1, is Tversky": (train.losses.focal_tversky_loss(noise, target, gamma=1.0), train.losses.tversky_loss(noise, target)),
    "boundary, before training, is combined": (train.losses.make_loss("boundary", progress=0.0)(noise, target), train.losses.combined_loss(noise, target)),
}
for name, (one, other) in pairs.items():
    assert torch.isclose(one, other, rtol=1e-4)
    print(f"{name}: {one:.4f} = {other:.4f}")


# %% [markdown]
# What each loss says of three predictions for the mask of above: the mask itself, nothing but background, and the mask two pixels too low. The network is as good
# as sure of them (probability 0.9999), and each loss has its default parameters.

# %%
def sure_of(mask):
    """Logits of a prediction that gives each of its classes, (1, h, w), the probability 0.9999."""
    one_hot = torch.nn.functional.one_hot(mask, 4).movedim(-1, 1)
    return torch.log(torch.where(one_hot == 1, 0.9999, 0.0001 / 3))


predicted = {"perfect": target, "empty": torch.zeros_like(target), "2 pixels off": torch.roll(target, 2, dims=1)}
every_loss = {name: train.losses.make_loss(name) for name in train.losses.LOSSES} | {"boundary, alone": train.losses.boundary_loss}
judged = {title: {name: each(sure_of(mask), target).item() for name, each in every_loss.items()} for title, mask in predicted.items()}
judged = pd.DataFrame(judged)
judged.round(3)

# %% [markdown]
# What counts in training is the order, not the size: every loss puts the shifted mask between the perfect and the empty one. Overlap losses tell an error of
# two pixels only by the pixels that it costs. The boundary loss counts how far off each of them is, so that alone it is negative for a good mask; it says
# nothing where a class is absent, and is added to the combined loss.

# %% [markdown]
# ## 3.10 Summary

# %%
assert np.isclose(shares["pixels"].sum(), 100) and (shares[["Focal", "Dice"]].sum() - 100).abs().max() < 0.01
print(f"1. {models.count_parameters(network):,} parameters at width {settings.width}, {len(stages)} stages, logits {tuple(outputs[-1].shape)}.")
text, code = facts["paper_text"], facts["author_code"]
print(f"2. Code against text: {code['ReLU']} against {text['ReLU']} ReLUs, {code['batch normalisations']} against {text['batch normalisations']} batch normalisations, {code['max poolings']} against {text['max poolings']} poolings.")
print("3. Leaky ReLU passes a tenth of the gradient where ReLU passes none; of the three starts, Glorot's changes the signal least.")
print(f"4. Combined loss = {settings.focal_share:g} Focal (gamma {settings.gamma:g}, {settings.focal_reduction}) + {1 - settings.focal_share:g} Dice (per {settings.dice_over}); gamma 4 leaves confident pixels to the Dice term. This run trains with: {settings.loss}.")
assert ((judged["perfect"] < judged["2 pixels off"]) & (judged["2 pixels off"] < judged["empty"])).all()
print(f"5. Against the paper's text, attention costs {costs.loc['attention', 'ratio']:.2f} times the multiply-adds, residual blocks {costs.loc['residual', 'ratio']:.2f} times, U-Net++ {costs.loc['unetpp', 'ratio']:.2f} times.")

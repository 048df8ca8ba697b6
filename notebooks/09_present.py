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
# # 7 Present
#
# **The question of this notebook: how is all this told in a quarter of an hour, with numbers that can be traced?** It builds a PowerPoint file from
# the published results under `results/` and the figures under `figures/` of the repository, whatever data this run has. No number is typed.

# %% [markdown]
# Parameters. `None` stands for what the profile, or the run folder, says.

# %% tags=["parameters"]
source = "sample"  # sample | phantom | released | pairs | spider, or some joined by +
data_dir = None  # folder of the data; the sample and the phantom need none
run_dir = None  # None: runs/<source>_<profile>
profile = "smoke"  # smoke | cpu | paper

# %%
from spider_utils import runs, present

run = runs.open_run(run_dir, source, data_dir, profile)

# %% [markdown]
# ## 7.1 Numbers
#
# Each number has a name, a file and a place in it (`spider_utils/deck/numbers.yaml`). Where a study is run again and published, the number changes
# by itself. Those of the leakage experiment:

# %% tags=["nbval-ignore-output"]
import pandas as pd

numbers = present.read_numbers()
if not present.RESULTS.is_dir():
    print("No results/ here: run this notebook in a checkout of the repository to get the whole presentation.")
told = pd.DataFrame({"file": numbers.files, "told as": numbers.texts})
told[told["file"].str.startswith("leakage/")]

# %% [markdown]
# A name that nobody has listed is an error, not an empty place:

# %%
from spider_utils import SpiderError

try:
    numbers.fill("Dice {of_my_dreams}")
except SpiderError as error:
    print(error)

# %% [markdown]
# ## 7.2 Slides
#
# The slides' words stand in `spider_utils/present/slides.yaml`, one message a slide as its title. A slide whose number or figure is not there is left
# out, and it is said.

# %% tags=["nbval-ignore-output"]
pd.set_option("display.max_colwidth", None)
slides, left_out = present.read_slides()
print("left out:", "; ".join(f"{title} (for want of {lacks})" for title, lacks in left_out.items()) or "nothing")
outline = pd.DataFrame({"slide": [one.title for one in slides], "backup": [one.backup for one in slides]})
outline.set_axis(range(1, len(slides) + 1))

# %% [markdown]
# What is said to a slide stands in its speaker notes, with the files that its numbers come from:

# %% tags=["nbval-ignore-output"]
import textwrap

for one in slides[7:9]:
    print(one.title, textwrap.fill(one.notes, 110), f"({', '.join(one.sources)})", sep="\n", end="\n\n")

# %% [markdown]
# and one figure, drawn with large letters for it:

# %% tags=["nbval-ignore-output"]
from IPython.display import Image

shown = [one.figure for one in slides if one.figure and one.figure.stem == "deck_leakage"]
Image(filename=shown[0], width=700) if shown else None

# %% [markdown]
# **Figure 7.1** The figure of slide 9, from the tables of the study `leakage`. `python -m tools.figures` draws it.
#
# ## 7.3 The file
#
# 16:9, text of 18 points and more. The repository's own `figures/presentation.pptx` is the same, written by `python -m tools.present`.

# %%
path = run.figures / "presentation.pptx"
present.write_deck(slides, path)
print(f"{path.parent.name}/{path.name}")

# %% [markdown]
# ## 7.4 Is every number a result?
#
# The file is read back. A decimal that is neither a number of the list nor one of the few that may be typed, each with its reason, would be shown here:

# %%
strange = [number for text in present.deck_texts(path) for number in numbers.strange(text)]
assert not strange, strange
print("decimals that are no results:", len(strange))

# %% [markdown]
# ## 7.5 Summary

# %% tags=["nbval-ignore-output"]
main = [one for one in slides if not one.backup]
print(f"1. {len(main)} slides and {len(slides) - len(main)} for questions, all with speaker notes.")
print(f"2. {len(numbers.texts)} numbers, each read from a file; a study that is run again changes them everywhere.")
print("3. Answers to an examiner's questions stand in docs/questions.md, with numbers from the same list.")

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
# # 9 Present
#
# **The question of this notebook: how is all this told in a quarter of an hour, with numbers that can be traced?** Afterwards you can build the
# presentation, find the file behind each of its numbers, and tell the project in one minute.

# %%
from spider_utils import runs, present

present.picture("deck_spine", width=800)

# %% [markdown]
# **Figure 9.1** The presentation's first picture: a real slice, and what a reader drew on it.
#
# ## Parameters
#
# | parameter | values | meaning |
# | --- | --- | --- |
# | `source` | sample, phantom, released, pairs, spider, or some joined by + | the run's data; the presentation does not depend on them |
# | `data_dir` | a folder, or None | where the data lie; the sample and the phantom need none |
# | `run_dir` | a folder, or None | where the PowerPoint file goes; None: `runs/<source>_<profile>` |
# | `profile` | smoke, cpu, paper | a file of settings |
#
# Any other setting can go into `more`, a dict.

# %% tags=["parameters"]
source = "sample"
data_dir = None
run_dir = None
profile = "smoke"
more = None

# %%
run = runs.open_run(run_dir, source, data_dir, profile, more)

# %% [markdown]
# ## 9.1 Which number is which
#
# Several Dice values of this project stand in texts, and they are not the same experiment. This card tells them apart: each with its network, patients,
# size in pixels, epochs, seed and split, and the command that makes it.
#
# **Predict:** which row is the highest of those that say what to expect on a new patient?

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)
card = present.table("headline").set_index("name")
card[["vertebrae", "canal", "discs", "mean", "ci_low", "ci_high"]].round(3)

# %%
card[["network", "width", "patients", "size", "epochs", "seed", "split"]].convert_dtypes()

# %%
import textwrap

for command, names in card.groupby("command", sort=False).groups.items():
    print("; ".join(names))
    print(textwrap.indent(textwrap.fill(command, 92, break_on_hyphens=False), "    "))

# %% [markdown]
# ## 9.2 Numbers have names
#
# No number is typed into a slide. Each has a name, a file and a place in it, in `spider_utils/present/numbers.yaml`. Where a study is run again and
# published, the number changes by itself. Some of those of the paper's claim, unseen patients and random slices:

# %%
numbers = present.read_numbers()
told = pd.DataFrame({"file": numbers.files, "told as": numbers.texts})
told[told["file"].str.startswith("paper_claim/")].head(10)

# %% [markdown]
# **Predict:** what happens when a slide names a number that nobody has listed: an empty place, or an error?

# %%
from spider_utils import SpiderError

try:
    numbers.fill("Dice {of_my_dreams}")
except SpiderError as error:
    print(error)

# %% [markdown]
# ## 9.3 Slides
#
# The words stand in `spider_utils/present/slides.yaml`: each slide's title is its message. A slide whose number or figure is not there is left
# out, and it is said.

# %%
slides, left_out = present.read_slides()
for title, lacks in left_out.items():
    print(f"left out: {title} ({lacks})")
titles = pd.Series([one.title for one in slides], range(1, len(slides) + 1), name="slide")
backup = [one.backup for one in slides]
titles[[not later for later in backup]].to_frame()

# %% [markdown]
# More slides wait for questions after the talk:

# %%
titles[backup].to_frame()

# %% [markdown]
# What is said to a slide stands in its speaker notes, with the files that its numbers come from. **Predict:** which files does the slide on the split need?

# %%
one = next(each for each in slides if each.figure and each.figure.stem == "deck_leakage")
print(one.title, textwrap.fill(one.notes, 100), f"Files: {', '.join(one.sources)}", sep="\n\n")

# %%
present.picture(one.figure.stem, width=700)

# %% [markdown]
# **Figure 9.2** The figure of that slide, drawn from the tables of the study `paper_claim` with large letters. `python -m tools.figures` draws it.
#
# ## 9.4 In one minute
#
# The short version is one sentence a slide, read from the same file:

# %%
short = [one.short for one in slides if one.short]
print(textwrap.fill(" ".join(short), 100))
print(f"\n{len(' '.join(short).split())} words")

# %% [markdown]
# ## 9.5 The file
#
# The presentation is a PowerPoint file, 16:9. The repository's own `figures/presentation.pptx` is the same, written by `python -m tools.present`.

# %%
path = run.figures / "presentation.pptx"
present.write_deck(slides, path)
print(f"{path.parent.name}/{path.name}: {len(slides)} slides")

# %% [markdown]
# ## 9.6 Is every number a result?
#
# The file is read back. A decimal that is neither a number of the list nor one of the few that may be typed, each with its reason, would be shown here:

# %%
strange = [number for text in present.deck_texts(path) for number in numbers.strange(text)]
assert not strange, strange
print("decimals that are no results:", len(strange))

# %% [markdown]
# ## 9.7 Exercises
#
# 1. Find the file behind the number `copied_foreground`, and the row of it that holds the number.
# 2. Write a sentence of your own with two numbers of the list, and show that no decimal in it is strange.
# 3. On which slides do the digits of `unseen` stand? Are they the same number each time?

# %% tags=["solution", "hide-cell"]
# Solution 1: from a number to its file and row
print(numbers.files["copied_foreground"])
copying = present.table(numbers.files["copied_foreground"].removesuffix(".csv"))
row = copying.query("metric == 'dice' and sequence == 'all' and aggregation == 'pooled'")
row = row.query("`class` == 'foreground' and split.str.contains('LEAKY') and folds == 10")
assert f"{row['value'].item():.3f}" == numbers.texts["copied_foreground"]
print(row[["split", "folds", "class", "value"]].round(3).to_string(index=False))

# %% tags=["solution", "hide-cell"]
# Solution 2: a sentence with numbers of the list
sentence = "A copied mask scores {copied_foreground}, the network on unseen patients {unseen}."
filled = numbers.fill(sentence)
assert numbers.strange(filled) == [] and numbers.strange("Dice 0.123456") == ["0.123456"]
print(filled)

# %% tags=["solution", "hide-cell"]
# Solution 3: where a number stands
value = numbers.texts["unseen"]
found = []
for one in slides:
    parts = [one.title, one.notes, *one.lines, *sum(one.big + one.cards, ())]
    found += [one] if any(value in part for part in parts) else []
read_back = present.deck_texts(path)
assert found == [one for one, text in zip(slides, read_back, strict=True) if value in text]
for one in found:
    same = "paper_claim/dice.csv" in one.sources
    print(f"{'the same' if same else 'another number'}: {one.title}")

# %% [markdown]
# ## 9.8 Summary

# %%
main = [one for one in slides if not one.backup]
print(f"1. {len(main)} slides and {len(slides) - len(main)} for questions, all with speaker notes.")
print(f"2. {len(numbers.texts)} numbers, each read from a file; a new run changes them.")
print("3. The card of section 9.1 says which Dice is which, and the command that makes it.")
print("4. Answers to an examiner's questions stand in docs/questions.md, with the same numbers.")

"""Synthetic series in memory, each made once in a process; nobody changes them."""

from functools import cache

from spider_utils.data.phantom import phantom_series

kept_phantom = cache(phantom_series)  # (patient, sequence, seed): image and mask

"""Exact histograms and what is computed from them.

- ``histograms``: counts of stored values per tile, which add up exactly.
- ``summary``: mean, standard deviation and percentiles out of counts.
- ``normalise``: the stage: counts the usable tiles and writes the statistics.
"""

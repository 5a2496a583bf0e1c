"""Sections of the report: a file with what each shows, and a template of the same name with how.

In the order of the page:

- ``summary``: the first screen: a square for each number of the paper.
- ``scores``: the runs, each beside the paper's row of its network and inputs; classes, maps and people.
- ``tables``: Tables I to VI, number by number; the same as Markdown and CSV.
- ``bubbles``: Fig. 2, accuracy against operations.
- ``biomes``: Fig. 3, classes by biome.
- ``panels``: Fig. 7, tiles with their label, networks and maps; the best and the worst tiles of runs.
- ``losses``: Fig. 8, what the choice of the loss does to each class.
- ``curves``: losses and validation scores of all epochs.
- ``details``: scores by region, biome and more; confusion matrices.
- ``dataset``: where the tiles lie, which are used, findings, statistics.
- ``origin``: hardware, versions, seeds, hashes, licences, and how to cite.
"""

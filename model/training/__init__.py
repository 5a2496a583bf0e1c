"""The parts of a training; ``model/train.py`` puts them together.

- ``listener``: who hears how far a training is.
- ``beginning``: what a run learns, and whether it is the one that its folder holds.
- ``schedule``: the learning rate of each step.
- ``devices``: what computes, and in which precision.
- ``objective``: a batch to its loss.
- ``divergence``: losses and weights that are no numbers.
- ``trainer``: network, optimiser and loaders through the epochs.
"""

"""The parts of a training; ``model/train.py`` puts them together.

- ``listener``: who hears how far a training is.
- ``beginning``: what a run learns, and whether it is the one that its folder holds.
- ``schedule``: the learning rate of each step.
- ``devices``: what computes, and in which precision.
- ``together``: whether several processes see the same run, data and settings.
- ``order``: which samples make a step, and how it is cut into micro-batches.
- ``balance``: how often a tile is drawn, and how much its pixels count.
- ``learner``: the network and its optimiser.
- ``objective``: a batch to the sum of its losses.
- ``step``: the gradient of a step.
- ``validation``: scores between epochs.
- ``trackers``: programs that show curves.
- ``averaging``: the mean of the weights after the last epochs.
- ``pictures``: what a few validation tiles look like, every few epochs.
- ``checkpoint``: how far a training is, and the state that it had there.
- ``computing``: what computes a run, on its record.
- ``signals``: requests to stop.
- ``divergence``: losses and weights that are no numbers.
- ``trainer``: all these, through the epochs.
"""

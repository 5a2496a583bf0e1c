"""From a data set to a trained and scored network; nothing in here knows Earth Engine.

- ``domains``: which values each setting may have.
- ``config``: settings to and from plain mappings.
- ``blocks``: parts that several networks are made of.
- ``specsar_former``: SpecSAR-Former.
- ``baselines``: the networks it is compared with.
- ``registry``: every network by name.
- ``cost``, ``speed``: parameters, GFLOPs, time and memory.
- ``loader``: stored samples to batches on the device.
- ``losses``, ``metrics``: what is minimised, what is reported.
- ``runs``: the files of a run.
- ``train``, ``score``: the two stages.
"""

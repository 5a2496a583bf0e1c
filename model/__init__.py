"""From a data set to a trained and scored network; nothing in here knows Earth Engine.

- ``domains``: which values each setting may have.
- ``config``: settings to and from plain mappings.
- ``blocks``: parts that several networks are made of.
- ``specsar_former``: SpecSAR-Former.
- ``baselines``: the networks it is compared with.
- ``outside``: networks of modules and packages that are not of dwplus.
- ``registry``: every network by name.
- ``cost``, ``kept_costs``, ``speed``: parameters, GFLOPs, time and memory.
- ``loader``: stored samples to batches on the device.
- ``missing``: inputs that are lost in training and scoring, and what is read there.
- ``label_share``: a part of the training tiles.
- ``losses``, ``metrics``: what is minimised, what is reported.
- ``settings``: settings of a training, and profiles of them.
- ``run_config``: what a run is, as a record.
- ``run_files``, ``runs``: the files of a run, and their hashes.
- ``tensor_bundle``, ``published``: weights that were published elsewhere become a run.
- ``products``: public maps and people, scored like networks.
- ``transfer``: what a training takes over from weights trained before.
- ``training_range``: which pixels are outside what a network was trained on.
- ``estimate``: how long a training will take.
- ``training``: the parts of a training.
- ``scores``: what a score is made of, and how sure it is.
- ``train``, ``score``: the two stages.
- ``calibration``, ``calibration_fit``: what makes the confidence of a run its accuracy, and how it is found.
- ``variants``: what is scored beside a network as it is: calibrated, averaged over symmetries.
- ``symmetries``: the eight symmetries of a square, averaged.
- ``maps``: from windows of an image to a map.
"""

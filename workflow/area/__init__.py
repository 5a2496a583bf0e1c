"""Areas and accuracies of a map from a sample of places that somebody interpreted.

- ``estimators``: areas and accuracies of a stratified sample, with standard errors and 95 % intervals.
- ``allocation``: how many points, and how many of them in each stratum.
- ``cautions``: what a user has to be told about an estimate.
- ``ellipsoid``: the area of each pixel on the ellipsoid.
- ``class_map``: a map of classes, read by rows, and its strata.
- ``districts``: polygons over a map: the area of interest, and parts that are reported one by one.
- ``drawing``: pixels of each stratum, drawn at random.
- ``design``: the record of a sample: its seed, strata and points.
- ``point_files``: what the interpreter gets, and the answers that come back.
- ``sample``: a map becomes a sample.
- ``estimate``: answers become areas and accuracies.
- ``document``: these as JSON and CSV.
"""

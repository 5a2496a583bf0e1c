"""Areas and accuracies of a map from a sample of places that somebody interpreted.

- ``estimators``: areas and accuracies of a stratified sample, with standard errors and 95 % intervals.
- ``allocation``: how many points, and how many of them in each stratum.
- ``cautions``: what a user has to be told about an estimate.
"""

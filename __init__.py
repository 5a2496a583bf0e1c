"""dwplus builds the Dynamic World+ data set and trains, scores and publishes SpecSAR-Former on it.

labels -> manifest -> export -> shards -> validate, normalise -> dataset -> train -> score -> report
"""

__version__ = "0.1.0"

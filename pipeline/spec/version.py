"""The version of dwplus: written into every shard, run and score."""

__version__ = "0.1.0"

"""The version of dwplus: it stands in every shard, run and score."""

__version__ = "0.1.0"

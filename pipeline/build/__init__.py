"""The whole build in order: plan, export, inspect, card.

- ``dating``: own labels get a scene, and thereby a day.
- ``plan``: which tiles need which requests.
- ``forecast``: what they will take.
- ``budget``: Earth Engine compute that may be used, and what is left of it.
- ``provenance``: the tags of a shard.
- ``export``: requests pixels and writes shards.
- ``beside``: Level-1C and public maps on the same grids, beside the shards.
- ``inspection``: validates and counts a shard in one pass.
- ``card``: the README of a data set.
- ``status``: build progress.
- ``build``: all of it, one after the other.
"""

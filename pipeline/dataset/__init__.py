"""A data root and its records.

- ``class_file``: class tables of users.
- ``inputs``: which labels and pixels of users were added, under which terms.
- ``manifest``: all tiles with their splits, and the class table.
- ``ledger``: the status of every tile.
- ``findings``: what validation found wrong.
- ``waivers``: findings that are accepted, each with a reason.
- ``added_pixels``: the record of pixels that a user added.
- ``statistics``: what every network's input is normalised with.
- ``root``: where the files of a data set lie; which tiles are complete and usable.
- ``makers``: who made pixels and labels, and what follows for those who use them.
- ``zarr_chunks``, ``store_metadata``, ``store``: the training store in Zarr.
- ``class_pixels``: how many pixels of each class count in single tiles, read once.
- ``layers``: what lies beside the shards: Level-1C, public maps.
- ``samples``: tiles of a split as arrays: what training reads.
"""

"""A data root and its records.

- ``class_file``: class tables of users.
- ``inputs``: labels and pixels of users, what they were made from, under which terms.
- ``manifest``: all tiles with their splits.
- ``ledger``: the status of every tile.
- ``findings``: what validation found wrong.
- ``waivers``: findings that are accepted, each with a reason.
- ``statistics``: what every network's input is normalised with.
- ``root``: where the files of a data set lie; which tiles are complete and usable.
- ``makers``: who made pixels and labels, and what follows for those who use them.
- ``zarr_chunks``, ``store_metadata``, ``store``: the training store in Zarr.
- ``samples``: tiles of a split as arrays: what training reads.
"""

"""Labels that somebody should look at again: where a network contradicts them and is sure.

In the order in which data flows:

- ``regions``: label and probabilities of a tile -> connected groups of pixels that are contradicted.
- ``annotators``: how often labels of experts and of others are contradicted, and by each other.
- ``styles``: how QGIS shows the layers.
- ``files``: the GeoPackage for QGIS and the tables.
- ``review``: the command's work, in order.
"""

"""Maps in a notebook, with geemap.

- ``pictures``: arrays on a grid as pictures that a web map can place; classes with their legend.
- ``outlines``: the tiles of a data root by split and status.
- ``canvas``: a geemap map with layers, legends, a slider and words.
- ``show``: a data root, a tile, a run or a map file on such a map.
"""

"""Areas to be mapped: outlines, grids, scenes and pixels.

- ``outline``: the area that a file, a box or another raster means.
- ``grids``: an area on the 10 m grid of each UTM zone that it lies in.
- ``scenes``: which days of Sentinel-2 it is mapped from.
- ``blocks``: its pixels, downloaded block by block.
- ``composite``: the pictures of a year as one picture, by their median or medoid.
- ``image``: these as one image, read by rows.
- ``forecast``: what a map would take, for ``--dry-run``.
"""

"""One shard and one label as GeoTIFF.

- ``gdal``: options that are fixed; whether GDAL and PROJ work here.
- ``geotiff``: a shard: written, its header read, its bands read.
- ``geotiff_blocks``: pixels straight from a shard's own blocks, where GDAL would take longer.
- ``compiled_loops``: the two loops over pixels that numba compiles.
- ``label_raster``: a label tile as released: its codes and its grid.
- ``class_map``: maps of classes as cloud-optimised GeoTIFFs.
- ``targets``: which pixels are trained on and scored.
- ``zone_index``: maps of several zones as one layer.
"""

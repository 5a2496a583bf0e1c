"""From label tiles to a validated data set; nothing in here knows torch.

In the order in which data flows; each package may import those above it (the table is in ``docs/architecture.md``):

- ``errors``: what can go wrong, and the exit code of each.
- ``progress``: how long stages say how far they are.
- ``machine``: cores and memory that this process may use.
- ``dask_workers``: whether workers of a Dask cluster can do the work.
- ``cluster``: tasks in this process, in local processes, or on a Dask cluster.
- ``spec``: what Dynamic World+ is by definition.
- ``files``: bytes on disk and at URLs.
- ``raster``: one shard and one label as GeoTIFF.
- ``earthengine``: the only code that knows Earth Engine.
- ``dataset``: a data root and its records.
- ``labels``: from published label archives or Earth Engine assets to the manifest.
- ``validation``: rules over one file, rules over the whole set, quarantine.
- ``own``: labels and pixels of users.
- ``statistics``: exact histograms and what is computed from them.
- ``build``: the whole build, in order.
- ``areas``: areas to be mapped: outlines, grids.
"""

"""Maps out of a run and an image, or of an area; what lies beside them, and what two maps say together.

- ``settings``: how a map is made, and whether that fits the run.
- ``parts``: rows that are finished, until the map is complete.
- ``window_rows``: an image as rows of windows, classified.
- ``rasters``: the rasters of a map, out of finished rows.
- ``mapping``: a map out of a run and an image.
- ``spread``: its rows, classified by the workers of a Dask cluster.
- ``area_request``: an area and a time, and what a network reads there.
- ``area_scenes``: which scenes it is mapped from.
- ``area_map``: its pixels downloaded, each zone mapped.
- ``record``: what a finished map says about itself.
- ``overview``: small pictures of a map and of its image, for the page (``pages.map_page``).
- ``style``: the style that QGIS loads with it.
- ``item``: the STAC item that describes it.
- ``beside``: writes them when a map is complete.
- ``pairs``: which two maps may be compared.
- ``change``: what differs between them, and a map of it.
"""

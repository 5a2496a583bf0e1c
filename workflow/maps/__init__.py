"""Rows of a map while it is made; what lies beside it, and what two maps say together, made of its files.

- ``parts``: rows that are finished, until the map is complete.
- ``window_rows``: an image as rows of windows, classified.
- ``record``: what a finished map says about itself.
- ``overview``: small pictures of a map and of its image, for the page (``pages.map_page``).
- ``style``: the style that QGIS loads with it.
- ``item``: the STAC item that describes it.
- ``beside``: writes them when a map is complete.
- ``pairs``: which two maps may be compared.
- ``change``: what differs between them, and a map of it.
"""

"""HTML pages and their figures.

- ``html``: templates (``*.html.j2``) and the style they share (``page.css``).
- ``colours``: reflectance, backscatter and classes as colours.
- ``figures``: every plot.
- ``findings_page``: what validation found, with pictures.
- ``runs``: runs read one by one, what cannot be read of them named.
- ``comparison``: the paper's row of each run, and the same network without Sentinel-1.
- ``label_report``: what own labels amount to.
- ``parts``: parts of a test set, its best and worst tiles.
- ``tile_use``: which tiles are used, and why the others are not.
- ``report``: scores beside the paper's.
"""

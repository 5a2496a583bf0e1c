"""HTML pages and their figures.

- ``html``: templates (``*.html.j2``) and the style they share (``page.css``).
- ``pixels``: reflectance, backscatter and classes as pictures.
- ``figures``: figures of findings, labels and trainings, in PNG.
- ``svg``: parts of the figures of the report, in SVG.
- ``findings_page``: what validation found, with pictures.
- ``label_report``: what own labels amount to.
- ``map_page``: the page beside a map.
- ``report``: the report; ``content`` says what it holds, ``sections`` has a file for each part of it.
- ``opened``: splits that runs were scored on, each opened once.
- ``drawn``, ``kept_predictions``: tiles that the report draws, and what networks say of them.
- ``unchanged``: whether a page would be the same if it were made again.
- ``runs``: runs read one by one, what cannot be read of them named.
- ``comparison``: the paper's row of each run, and the same network without Sentinel-1.
- ``confidence``: how sure networks are and how often right, before and after calibration.
- ``parts``: parts of a test set, its best and worst tiles.
- ``tile_use``: which tiles are used, and why the others are not.
"""

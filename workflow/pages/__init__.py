"""HTML pages and their figures.

- ``figures``: every plot.
- ``findings_page``: what validation found, with pictures.
- ``report``: scores beside the paper's.
"""

"""From published label archives or Earth Engine assets to the manifest.

- ``releases``: what is published where; downloading and unpacking it.
- ``earth_engine``: label tiles that are Earth Engine assets.
- ``metadata``: scene names and biomes out of the workbook of a release.
- ``index``: the label tiles of a folder.
- ``supply``: which archives, assets and folders labels come from.
- ``origin``: what a manifest was made from, and by which code.
- ``splits``: which tiles leak, and which split each belongs to.
- ``ingest``: reads the labels and writes the manifest.
- ``subsets``: which tiles the paper probably kept, counted before any pixel.
- ``describe``: tables about labels, for people.
"""

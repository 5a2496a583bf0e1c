"""Labels and pixels of users: brought onto the grids of tiles, split by blocks, kept with where they came from.

Labels (``dwplus labels add``, ``remove``, ``report``):

- ``dates``: days and periods out of options, columns, names and tables.
- ``chip_table``: a CSV file that maps files or folders to date, split and annotator.
- ``inputs_of``: which files an argument means, and what holds for each of them.
- ``grid``: the 10 m UTM grid, its zones and cells.
- ``vectors``: features of a file, batch by batch.
- ``placing``: features onto the cells of the grid.
- ``spill``: pieces of features on disk, grouped by tile.
- ``burning``: pieces of one tile become codes; where two classes overlap.
- ``rasters``: a raster of any grid, cut to tiles.
- ``reading``: one file becomes tiles, and an account of what was left out.
- ``blocks``: splits by geographic blocks.
- ``add``: the stage: inputs in and out, manifest, records.
- ``describe``: numbers of the labels of a data root, for people.

Pixels (``dwplus pixels add``, ``remove``):

- ``pixels_bands``: which band of a file is which, by its name or by a table.
- ``pixels_units``: what numbers of a file mean: reflectance and dB of its values.
- ``pixels_dates``: on which day a product was acquired.
- ``pixels_products``: files and folders of a user as products: one acquisition of one sensor.
- ``pixels_choice``: which products a tile takes its pixels from.
- ``pixels_resample``: pixels of a product on the grid of a tile.
- ``pixels_tile``: the pixels of one tile: its best acquisition, checked, as a shard.
- ``pixels``: the stage: products in, shards and ledger rows out.
- ``pixels_removal``: its undo.

Maps (``dwplus predict``):

- ``image``: files of one day as one image, read by rows.
"""

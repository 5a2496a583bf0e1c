"""Labels and pixels of users: what is not Dynamic World, and did not come from Earth Engine.

- ``pixels_bands``: which band of a file is which, by its name or by a table.
- ``pixels_units``: what numbers of a file mean: reflectance and dB of its values.
- ``pixels_dates``: on which day a product was acquired.
- ``pixels_products``: files and folders of a user as products: one acquisition of one sensor.
- ``pixels_choice``: which products a tile takes its pixels from.
- ``pixels_resample``: pixels of a product on the grid of a tile.
- ``pixels_tile``: the pixels of one tile: its best acquisition, checked, as a shard.
- ``pixels``: the stage: products in, shards and ledger rows out.
"""

"""Orbits, products and scenes over the planet; search by time and place.

- ``mgrs``: the granules of Sentinel-2.
- ``orbits``: when the satellites pass.
- ``acquisition``: one pass over one place.
- ``sentinel1``, ``sentinel2``: scenes of the sensors.
- ``products``: land-cover products that are made from scenes.
- ``maps``: yearly land-cover maps.
- ``sites``: where the tiles of the sandbox lie.
- ``annotations``: what annotators drew there.
- ``catalogue``: all collections, by name.
"""

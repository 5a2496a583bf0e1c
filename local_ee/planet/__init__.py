"""The synthetic Earth: computed from a seed at every point, never stored.

- ``noise``: smooth fields of pseudo-random numbers.
- ``utm``: between longitude, latitude and UTM, fast.
- ``materials``: spectra and backscatter of what covers the ground.
- ``ground``: what lies where: elevation, climate, cover.
- ``labelling``: how annotators and models map it.
- ``protocol``: what a planet offers to the sensors over it; the geometry of an acquisition.
- ``spectra``: what sensors measure over a material.
- ``earth``: the planet with ground.
- ``plane_planet``: the planet of known values, for tests of alignment.
- ``planet``: which planet a name means.
"""

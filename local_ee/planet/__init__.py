"""The synthetic Earth: computed from a seed at every point, never stored.

- ``noise``: smooth fields of pseudo-random numbers.
- ``utm``: between longitude, latitude and UTM, fast.
- ``materials``: spectra and backscatter of what covers the ground.
- ``ground``: what lies where: elevation, climate, cover.
- ``labelling``: how annotators and models map it.
- ``planet``: what a planet offers, and which one a name means.
- ``spectra``: what sensors measure over a material.
- ``earth``: the planet with ground.
- ``plane_planet``: the planet of known values, for tests of alignment.
"""

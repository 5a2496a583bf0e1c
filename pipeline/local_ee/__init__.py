"""The local Earth Engine: a server on 127.0.0.1 that speaks Earth Engine's REST API over a seeded synthetic Earth.

utm, orbits, noise <- planet <- catalogue <- functions <- server; releases serves label archives of the same planet.
Its pixels are synthetic: every product of it says SANDBOX.
"""

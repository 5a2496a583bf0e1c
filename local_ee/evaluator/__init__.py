"""Earth Engine's expression language over scenes.

- ``documents``, ``signatures``: the client's own list of functions and their arguments.
- ``grid``, ``warp``: pixels of one grid on another.
- ``values``: numbers, strings, lists and dates.
- ``date_patterns``: dates as text.
- ``sphere``: areas, bounds and buffers of geometries.
- ``image``: pixels with masks and types.
- ``collection``, ``filters``: sets of images.
- ``visualise``: bands as the colours of a picture.
- ``arithmetic``, ``composites``, ``reducers``, ``image_functions``, ``functions``: what can be called.
- ``graph``: an expression, evaluated.
"""

"""The only code that knows Earth Engine.

- ``configuration``: which server and which project.
- ``credentials``: which account.
- ``connection``: signing in, and finding out who answers.
- ``scene_choice``: which scenes a tile is made from.
- ``clear_scenes``: which scene of a period shows an own label best.
- ``graphs``: expressions for one tile: its scenes, its pixels.
- ``label_graphs``: expressions for label tiles that are Earth Engine assets.
- ``map_layers``: layers of a web map.
- ``layer_graphs``: expressions for what lies beside a shard: Level-1C, public maps.
- ``limiter``: how many requests, how fast.
- ``transport``: HTTP with a deadline for the whole answer.
- ``faults``: what a failure means: retry, fail or stop.
- ``session``: sends requests and retries them.
- ``decoding``: bytes of an answer to stored values.
"""

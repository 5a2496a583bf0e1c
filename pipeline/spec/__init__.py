"""What Dynamic World+ is by definition: bands, classes, tiles, the 409 test tiles, recipe, licences.

- ``bands``: the 14 bands of a shard, how each is stored, and the presets that networks read.
- ``classes``: class tables: names, codes, colours; Dynamic World's nine classes.
- ``tiles``: one tile: its id, grid, date and place; regions and biomes.
- ``test_tiles``: the 409 released test tiles.
- ``periods``: the days on which a label is true.
- ``overlaps``: which tiles share ground, and how far apart tiles lie.
- ``layers``: what may lie beside the shards: Level-1C, public maps and how their codes map to classes.
- ``recipe``: how the pixels of a tile are chosen and averaged.
- ``radar``: how Sentinel-1 of a data set was made, and where two data sets differ in it.
- ``sources``: where pixels come from, and what that means for everything made from them.
- ``licences``: what users of labels and pixels have to state.
- ``words``: numbers with their noun.
- ``version``: the version of dwplus.
"""

"""What a score is made of, and how sure it is.

In the order in which data flows:

- ``counting``: logits and label of a batch -> counts of each tile.
- ``tile_table``: the counts of every tile of a split with what is known of it; the file beside ``scores.json``.
- ``bootstrap``: tiles drawn again within the cells of the test set's design; replicates of sums.
- ``student``: Student's distribution.
- ``intervals``: 95 % intervals of every score.
- ``perfect``: the calibration error that a perfectly calibrated network would show.
- ``comparison``: differences of two sides, with Holm's correction over a table.
- ``groups``: scores by biome, region, annotator, season, distance to the nearest training tile.
- ``document``: the record that ``scores.json`` holds.
- ``words``: scores and intervals as text.
- ``kept``: both files of a run.
- ``share``: several processes on one scoring.
"""

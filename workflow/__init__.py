"""What joins the halves.

- ``console``: progress on a terminal and in logs.
- ``source``: opening a source of pixels; starting the local Earth Engine.
- ``pace``: samples a second, time left.
- ``splits``: splits of a data root, opened for a network.
- ``training``: naming runs, choosing settings, training on a data root.
- ``scoring``: scoring on a data root; averages of runs.
- ``calibrating``: the calibration of a run on a data root.
- ``pictures``: four validation tiles, drawn while a network trains.
- ``launch``, ``launched``: one training by several processes of this machine.
- ``tile_records``: what is known of each scored tile.
- ``beside``: public maps and people scored beside the networks.
- ``seeds``: runs that differ in their seed alone.
- ``run_table``: runs side by side.
- ``mapping``: a map out of a run and an image.
- ``map_of_area``: the maps of an area: its scenes are chosen, its pixels downloaded, each zone mapped.
- ``comparing``: differences of runs on the same tiles.
- ``reproduce``: everything in one command.
- ``reproduction``: the paper number by number, and what became of each.
- ``pages``: the report and the page of findings.
- ``area``: areas and accuracies of a map, from a sample that somebody interpreted.
- ``notebook``: maps in a notebook.
- ``doctor``: what a build needs, checked before it starts.
"""

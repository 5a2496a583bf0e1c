"""What joins the halves.

- ``console``: progress on a terminal and in logs.
- ``source``: opening a source of pixels; starting the local Earth Engine.
- ``machines``: several machines that do one piece of work in one folder.
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
- ``budget``: epochs, steps and learning rates that runs had.
- ``comparing``: differences of runs on the same tiles.
- ``reproduce``: everything in one command.
- ``reproduction``: the paper number by number, and what became of each.
- ``pages``: the report and the page of findings.
- ``maps``: maps out of a run and an image, or of an area; what lies beside them; change.
- ``area``: areas and accuracies of a map, from a sample that somebody interpreted.
- ``notebook``: maps in a notebook.
- ``doctor``: what a build needs, checked before it starts.
"""

"""The local Earth Engine: a server on 127.0.0.1 that speaks Earth Engine's REST API over a synthetic Earth.

It is independent: of the pipeline it uses the definitions (``spec``) and the writing of files.
Its pixels are synthetic: every product of it says SANDBOX.

- ``scene``: what a scene and a catalogue offer; planet and evaluator meet here.
- ``refusal``: how the evaluator says no, in Earth Engine's words.
- ``planet``: the synthetic Earth.
- ``catalogue``: orbits, products and scenes over it.
- ``releases``: label archives, as published.
- ``evaluator``: Earth Engine's expressions, evaluated.
- ``server``: HTTP, quotas, faults.
- ``launch``: starting and stopping one.
"""

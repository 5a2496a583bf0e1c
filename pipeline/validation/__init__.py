"""Rules over one file, rules over the whole set, quarantine.

- ``file_view``: what the rules see of a file, read once.
- ``form_rules``, ``pixel_rules``: one function per rule.
- ``rules``: the table of file rules, and ``judge``.
- ``validate``: the stage: every shard and label of a data root.
- ``single_files``: files that dwplus did not write.
- ``manifest_checks``: rules over the manifest.
- ``tile_summaries``: a few numbers per tile, for the rules over the set.
- ``shift``: sub-pixel shift between sensors and labels.
- ``set_rules``: rules over the whole set.
- ``audit``: the stage that applies them.
- ``quarantine``: moves shards with errors out of the way, and back.
"""

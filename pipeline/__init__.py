"""From label tiles to a validated data set; nothing in here knows torch.

errors, bands, landcover <- tiles <- manifest, shards <- labels, scenes, session <- export;
manifest, shards <- validate, normalise <- dataset.
"""

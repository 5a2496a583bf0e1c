"""Parts that several networks are made of.

- ``padding``, ``recompute``: running a network on any size, with less memory.
- ``domains``: which values settings may have.
- ``layers``: attention, feed-forward and embeddings; initial weights.
- ``convolutions``: convolution with normalisation; heads.
- ``strips``, ``decoder``: the all-MLP decoder, computed in strips.
- ``mit``: the Mix Transformer encoder.
- ``resnet``, ``xception``, ``weight_standardised``: convolutional encoders.
- ``windowed``: attention in windows.
- ``fusion``, ``modality_fusion``: joining two sensors.
- ``upernet``: a decoder over four maps.
"""

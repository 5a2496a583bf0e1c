"""Maps of any area out of a trained network.

- ``windows``: where windows lie along an image, and how much each counts where they overlap.
- ``mosaic``: from windows to finished rows of the whole image, in memory by rows.
- ``classifier``: class probabilities of windows.
- ``streams``: windows classified beside each other.
"""

"""Open a data set, draw a tile, train a network of one's own and score it; beside ``my_network.py``."""

from pathlib import Path

import dwplus
import matplotlib.pyplot as plt

train, test = (dwplus.Dataset("data/sandbox", split=split) for split in ("train", "test"))
sample = train[0]
figure, (left, right) = plt.subplots(1, 2)
left.imshow((sample.primary[2::-1].transpose(1, 2, 0) / 3000).clip(0, 1))  # B4, B3, B2
right.imshow(sample.label, vmax=len(train.classes))  # class indices; 255 is ignored
figure.savefig("tile.png")
settings = dwplus.profile("small", model="my_network:build", steps=20, crop_px=128)
run = dwplus.train(settings, dataset_train=train, run_dir=Path("runs/mine"))
print(f"mIoU {dwplus.score(run, test).matrix.miou:.3f}")

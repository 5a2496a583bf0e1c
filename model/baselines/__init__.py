"""Networks to compare with, one file each; every one is called as ``network(primary, auxiliary)``."""

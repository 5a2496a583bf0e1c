"""Networks to compare with: one file per published network; every one is called as ``network(primary, auxiliary)``."""

"""Parts that several benchmarks share; benchmarks import these, never each other. README.md lists them."""

"""The paper, number by number: what it prints, what stands beside it here, and what became of each number.

- ``numbers``: every printed number, out of ``manifests/paper.toml``.
"""

"""The paper, number by number: what it prints, what stands beside it here, and what became of each number.

- ``numbers``: every printed number, out of ``manifests/paper.toml``.
- ``verdicts``: what became of one, judged.
- ``plan``: the trainings that the paper's rows need, and their cost.
- ``ours``: what stands beside the numbers: counts, settings, costs, scores.
- ``outlook``: what is there of the plan, what the rest would cost.
- ``document``: ``report/verdicts.json``.
"""

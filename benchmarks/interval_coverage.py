"""Do 95 % intervals of scores cover the true score in 95 % of test sets, and how often do equal methods seem different?

    python benchmarks/interval_coverage.py [--sets 1000] [--pairs 1000]

Test sets are simulated (``rigs/simulated_tiles.py``): pixels of a tile are correlated, one class of six occurs in a
tenth of the tiles, tiles lie in some 10 to 35 cells of region and biome. Compared are the intervals of the product,
percentiles of the same bootstrap, and percentiles of a bootstrap that takes every pixel for an independent draw.

Then two methods that are equal by construction: runs of 5 seeds a side, whose scores vary by 0.5 points from seed to
seed. Bars: coverage 93 to 97 % at 100 and 299 tiles, at least 90 % at 30; called different in at most 7 %.
"""

from __future__ import annotations

import numpy as np
from dwplus.model.metrics import METRICS, Metric, Sums
from dwplus.model.scores.bootstrap import FEWEST_UNITS, Draws
from dwplus.model.scores.comparison import Comparison, Side
from dwplus.model.scores.intervals import Bounds, Estimate
from rigs import arguments
from rigs.simulated_tiles import RARE, World, added, allocation, design_for

BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS if not metric.per_class}
IOU = next(metric for metric in METRICS if metric.key == "iou" and metric.per_class)
SHOWN = ("miou", "oa", "f1")
FORMS = ("this form", "percentiles", "pixels")
SEEDS = 5


def intervals(sums: Sums, draws: Draws, rng: np.random.Generator) -> dict[str, dict[str, Bounds | None]]:
    """form -> score -> bounds; the rare class has none in the product's form where fewer than ten tiles hold it."""
    estimate = Estimate(sums, draws)
    found: dict[str, dict[str, Bounds | None]] = {form: {} for form in FORMS}
    enough = estimate.units_with_class()[RARE] >= FEWEST_UNITS
    pixels = pixel_replicates(sums, rng)
    for key in SHOWN:
        found["this form"][key] = estimate.interval(BY_KEY[key])
        found["percentiles"][key] = percentiles(estimate.replicated(BY_KEY[key])[:, 0])
        found["pixels"][key] = percentiles(BY_KEY[key].formula(pixels))
    found["this form"]["rare"] = estimate.intervals(IOU)[RARE] if enough else None
    found["percentiles"]["rare"] = percentiles(estimate.replicated(IOU)[:, RARE]) if enough else None
    found["pixels"]["rare"] = percentiles(IOU.formula(pixels)[:, RARE]) if enough else None
    return found


def percentiles(values: np.ndarray) -> Bounds:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def pixel_replicates(sums: Sums, rng: np.random.Generator, count: int = 200) -> Sums:
    """Right, missed and false pixels of each class, drawn as if pixels were independent."""
    hit, truth, predicted = (part.sum(0) for part in (sums.hit, sums.truth, sums.predicted))
    drawn = rng.binomial(truth, np.divide(hit, truth, out=np.zeros(len(hit)), where=truth > 0), (count, len(hit)))
    return Sums(drawn, np.tile(truth, (count, 1)), np.maximum(rng.poisson(predicted - hit, drawn.shape) + drawn, 1))


def coverage(tiles: int, sets: int, replicates: int) -> None:
    """A row for each form: share of the test sets whose interval holds the true score, and mean width in points."""
    world, rng = World(), np.random.default_rng(tiles)
    cells = allocation(tiles, rng)
    draws = Draws(design_for(cells), replicates)
    sampled = [world.draw(cells, rng).seen(rng) for _ in range(sets)]
    population = added([*sampled, *(world.draw(cells, rng).seen(rng) for _ in range(2 * sets))])
    truth = {key: float(BY_KEY[key].formula(population)) for key in SHOWN}
    truth["rare"] = float(IOU.formula(population)[RARE])
    hits = {form: dict.fromkeys(truth, 0) for form in FORMS}
    given = {form: dict.fromkeys(truth, 0) for form in FORMS}
    widths = {form: dict.fromkeys(truth, 0.0) for form in FORMS}
    for sums in sampled:
        for form, by_key in intervals(sums, draws, rng).items():
            for key, bounds in by_key.items():
                if bounds is not None:
                    given[form][key] += 1
                    hits[form][key] += bounds[0] <= truth[key] <= bounds[1]
                    widths[form][key] += bounds[1] - bounds[0]
    print(f"{tiles} tiles in {len(draws.design.cells)} cells, {sets} test sets: coverage in %, width in points")
    for form in FORMS:
        cells_of_row = [_cell(hits[form][key], given[form][key], widths[form][key]) for key in truth]
        print(f"  {form:<12} " + "  ".join(f"{key} {cell}" for key, cell in zip(truth, cells_of_row, strict=True)))
    print(f"  the rare class has an interval in {given['this form']['rare'] / sets:.0%} of the sets", flush=True)


def _cell(hits: int, given: int, width: float) -> str:
    return f"{100 * hits / given:.1f} ({100 * width / given:.1f})" if given else "-"


def false_positives(tiles: int, pairs: int, replicates: int) -> None:
    """How often methods that are equal by construction are called different at 5 %."""
    world, rng = World(), np.random.default_rng(7)
    cells = allocation(tiles, rng)
    draws = Draws(design_for(cells), replicates)
    called, called_weights, deviations = dict.fromkeys(SHOWN, 0), dict.fromkeys(SHOWN, 0), []
    for _ in range(pairs):
        ground = world.draw(cells, rng)
        runs = [ground.seen(rng, skill=rng.normal(0, 0.022, 1), noise=0.1) for _ in range(2 * SEEDS)]
        sides = [Side.of(name, part, draws) for name, part in (("a", runs[:SEEDS]), ("b", runs[SEEDS:]))]
        weights = [Side.of(name, part[:1], draws) for name, part in (("a", runs[:SEEDS]), ("b", runs[SEEDS:]))]
        deviations.append(sides[0].values(BY_KEY["miou"]).std(ddof=1))
        for key in SHOWN:
            called[key] += Comparison(sides[0], sides[1], draws).difference(BY_KEY[key]).p < 0.05
            called_weights[key] += Comparison(weights[0], weights[1], draws).difference(BY_KEY[key]).p < 0.05
    deviation = 100 * np.sqrt(np.mean(np.square(deviations)))
    print(f"{pairs} pairs of equal methods, {SEEDS} seeds a side, {tiles} tiles, mIoU varies by {deviation:.2f} points")
    print("  called different, %: " + "  ".join(f"{key} {100 * n / pairs:.1f}" for key, n in called.items()))
    words = "  ".join(f"{key} {100 * n / pairs:.1f}" for key, n in called_weights.items())
    print(f"  two single runs of them (their weights do differ), %: {words}", flush=True)


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    options = arguments.parse(parser, sets=6, pairs=3, replicates=100)
    for tiles in (30, 100, 299):
        coverage(tiles, options.sets, options.replicates)
    false_positives(100, options.pairs, options.replicates)


if __name__ == "__main__":
    main()

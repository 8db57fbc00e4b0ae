"""How often the 95 % interval of the UAR covers the true UAR, on simulated corpora.

    python benchmarks/interval.py --simulations 3000

In each simulation some speakers are drawn. The probability that a clip is recognised depends on its emotion and on its
speaker, on a logit scale, and the true UAR is that of a population of 200,000 such speakers. The bootstrap over
speakers with percentiles, which many papers use, stands beside the interval of this package.
"""

import argparse

import numpy as np
from scipy.special import expit

from ser_keras.metrics import MIN_SPEAKERS, speaker_interval, unweighted_average_recall

CORPORA = {
    "7 emotions, 8 clips each": {"classes": 7, "clips": 8, "speaker": 0.5, "emotion": 0.8, "poisson": True},
    "8 emotions, 8 clips each": {"classes": 8, "clips": 8, "speaker": 0.8, "emotion": 0.8, "poisson": False},
    "4 emotions, 3 clips each": {"classes": 4, "clips": 3, "speaker": 0.6, "emotion": 0.6, "poisson": True},
    "4 emotions, speakers far apart": {"classes": 4, "clips": 20, "speaker": 1.5, "emotion": 0.5, "poisson": False},
}
"""Number of emotions, mean number of clips for each, standard deviations (logit) between speakers and between the
emotions of one speaker, and whether the number of clips varies."""

SPEAKERS = (2, 3, 4, 5, 6, 8, 10, 24)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--simulations", type=int, default=3000, help="of each corpus and number of speakers")
    simulations = options.parse_args().simulations
    print("| Corpus | Interval | " + " | ".join(f"{number} speakers" for number in SPEAKERS) + " |")
    print("|---|---|" + "---|" * len(SPEAKERS))
    for title, corpus in CORPORA.items():
        rows = {"jackknife, t": [], "bootstrap": []}
        for number in SPEAKERS:
            covered = coverage(number, simulations, **corpus)
            for cells, share in zip(rows.values(), covered, strict=True):
                cells.append("-" if share is None else f"{100 * share:.1f}")
        for name, cells in rows.items():
            print(f"| {title} | {name} | " + " | ".join(cells) + " |", flush=True)


def coverage(num_speakers: int, simulations: int, **corpus) -> tuple[float | None, float]:
    """Return how often our interval (None below the least number of speakers) and the bootstrap's cover the truth."""
    random = np.random.default_rng(num_speakers)
    true = recognition(200_000, random, corpus).mean()
    hits = np.zeros(2)
    for _ in range(simulations):
        matrices = confusion(num_speakers, random, corpus)
        ours = speaker_interval(matrices) or (np.nan, np.nan)
        for place, (low, high) in enumerate((ours, bootstrap(matrices, random))):
            hits[place] += low <= true <= high
    ours, other = hits / simulations
    return (ours if num_speakers >= MIN_SPEAKERS else None), other


def recognition(num_speakers: int, random: np.random.Generator, corpus: dict) -> np.ndarray:
    """Draw the probability with which a clip is recognised, `(speakers, classes)`."""
    mean = np.linspace(0.2, 1.8, corpus["classes"])
    own = random.normal(0, corpus["speaker"], (num_speakers, 1))
    return expit(mean + own + random.normal(0, corpus["emotion"], (num_speakers, corpus["classes"])))


def confusion(num_speakers: int, random: np.random.Generator, corpus: dict) -> np.ndarray:
    """Draw the clips of some speakers; what is missed goes to the next class, `(speakers, classes, classes)`."""
    probabilities = recognition(num_speakers, random, corpus)
    clips = np.full(probabilities.shape, corpus["clips"])
    clips = random.poisson(clips) if corpus["poisson"] else clips
    hits = random.binomial(clips, probabilities)
    diagonal = np.eye(corpus["classes"], dtype=int)
    return hits[..., None] * diagonal + (clips - hits)[..., None] * np.roll(diagonal, 1, axis=1)


def bootstrap(matrices: np.ndarray, random: np.random.Generator, draws: int = 500) -> tuple[float, float]:
    """Return the percentiles of the UAR over speakers drawn with replacement (Efron, 1979)."""
    number = len(matrices)
    drawn = random.multinomial(number, np.full(number, 1 / number), draws)
    return tuple(np.nanpercentile(unweighted_average_recall(np.tensordot(drawn, matrices, axes=1)), [2.5, 97.5]))


if __name__ == "__main__":
    main()

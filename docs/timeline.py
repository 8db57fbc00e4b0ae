"""Draw timeline.png, the picture at the top of README.md: a made-up voice that is sad, then happy, then angry.

Run it from the repository after `make train`: `make picture`.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ser_keras.corpora.synthesis import SENTENCES, draw_voice, synthesize_clip
from ser_keras.explanation import Attention
from ser_keras.inference import Predictor
from ser_keras.plots import timeline_figure

EMOTIONS = ("sad", "happy", "angry")


def talk(sample_rate: int, seed: int) -> np.ndarray:
    """Return some sentences of a voice that no corpus holds, float32 `(samples,)`."""
    rng = np.random.default_rng(seed)
    voice = draw_voice("female", rng)
    clips = [
        synthesize_clip(emotion, voice, rng, text=text, sample_rate=sample_rate)
        for emotion in EMOTIONS
        for text in SENTENCES[:3]
    ]
    return np.concatenate(clips)


def draw(model: str | Path, output: str | Path, *, seed: int = 0) -> None:
    """Draw what a model says of the recording."""
    predictor = Predictor(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "talk.wav")
        soundfile.write(path, talk(predictor.sample_rate, seed), predictor.sample_rate)
        waveform, _ = soundfile.read(path, dtype="float32")
        prediction, timeline = predictor.predict(path), predictor.timeline(path)
    attention = Attention(prediction.attention_seconds, prediction.attention)
    figure = timeline_figure(waveform, predictor.sample_rate, timeline, attention=attention)
    figure.savefig(output, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="run directory of `make train`")
    parser.add_argument("--output", default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args(arguments)
    draw(options.run, options.output)


if __name__ == "__main__":
    main()

"""Draw timeline.png, the picture at the top of README.md: recordings of one speaker, joined, and a model's timeline.

The picture in the repository shows EmoDB's speaker 13, who is in the test set of
`ser-keras train --dataset-path path/to/emodb --output-dir runs/emodb`:

    make picture RUN=runs/emodb ARGS="$(echo path/to/emodb/wav/13b03{Td,Fd,Lb}.wav)"
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from ser_keras.audio import load_audio
from ser_keras.inference import Predictor
from ser_keras.plots import timeline_figure


def draw(model: str | Path, recordings: Sequence[str | Path], output: str | Path) -> None:
    """Draw the timeline of the joined recordings, with a dashed line between two of them."""
    predictor = Predictor(model)
    clips = [load_audio(path, sample_rate=predictor.sample_rate) for path in recordings]
    waveform = np.concatenate(clips)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "joined.wav")
        soundfile.write(path, waveform, predictor.sample_rate)
        timeline = predictor.timeline(path)
    figure = timeline_figure(waveform, predictor.sample_rate, timeline)
    for end in np.cumsum([len(clip) for clip in clips[:-1]]) / predictor.sample_rate:
        for axes in figure.axes:
            axes.axvline(end, color="black", linestyle="--", linewidth=1)
    figure.savefig(output, dpi=95)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", help="recordings of one speaker, in the order of the picture")
    parser.add_argument("--run", required=True, help="run directory or export of the model")
    parser.add_argument("--output", default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args(arguments)
    draw(options.run, options.recordings, options.output)


if __name__ == "__main__":
    main()

"""Run the command line in tests: flags of a training that takes seconds, and commands that must fail."""

from conftest import SMALL

from ser_keras.cli import main
from ser_keras.cli.flags import OF_PRESETS

NETWORK = ["--preset", "light"] + [
    word
    for name, value in SMALL.to_dict().items()
    if name not in OF_PRESETS and not isinstance(value, bool)  # a flag of its own
    for word in ("--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value]))
]
QUICK = ["--epochs", "2", "--batch-size", "8", *NETWORK]


def fails(capsys, *arguments):
    """Run a command that must fail, and return its one line."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().split("\n")
    assert "Traceback" not in line
    return line

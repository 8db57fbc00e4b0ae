"""`python -m ser_keras.train`: the same as `ser-keras train`."""

import sys

from ser_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

"""`python -m ser_keras <verb>`: the same as `ser-keras <verb>`."""

import sys

from ser_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())

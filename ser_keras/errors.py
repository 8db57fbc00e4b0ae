"""Errors that are reported to the user in one line."""


class InputError(ValueError):
    """A path, a label, a file or an option that cannot be used.

    The message is one line with the value found (and the file's path), the value expected and the remedy. A setting or
    argument is named in backquotes in Python's spelling, `split='random'`; the command line prints its flag instead,
    and exits with code 2. Every other exception is a bug and keeps its traceback.
    """


class WorkerLostError(RuntimeError):
    """Another process of a distributed training has ended, so that this one cannot continue.

    The message is one line. The command line prints it and exits with code 75, by which a scheduler can retry.
    """


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Check a value.

    Raises:
        InputError: `holds` is false.

    Example:
        >>> require(-1 > 0, "epochs", -1, "more than 0")
        Traceback (most recent call last):
        ser_keras.errors.InputError: epochs=-1: expected more than 0
    """
    if not holds:
        raise InputError(f"{name}={value!r}: expected {expected}")

"""The one exception that says: what you gave cannot be used, and here is the remedy."""


class InputError(ValueError):
    """A mistake in what the user gave: a path, a label, a file, an option.

    The message is one line that says what was found, what was expected and what to do; where a file
    is at fault its path is in it. A setting or argument that would help is named in backquotes as Python has it,
    `split='random'`; the command line names the flag of its verb instead. The command line prints that line and exits
    with code 2; every other exception is a fault of ours and keeps its traceback.
    """


class WorkerLostError(RuntimeError):
    """Another process of a training on several machines is gone, and this one cannot go on without it.

    The message is one line. The command line prints it and exits with code 75, by which a scheduler may know that
    it is worth trying again.
    """


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Refuse a value that cannot work.

    Raises:
        InputError: unless `holds`.

    Example:
        >>> require(-1 > 0, "epochs", -1, "more than 0")
        Traceback (most recent call last):
        ser_keras.errors.InputError: epochs=-1: expected more than 0
    """
    if not holds:
        raise InputError(f"{name}={value!r}: expected {expected}")

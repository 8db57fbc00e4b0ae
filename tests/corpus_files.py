"""Datasets of empty files, whose names are all that the readers of labels look at."""


def make(root, *names):
    """Make empty files below a folder, and return the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root

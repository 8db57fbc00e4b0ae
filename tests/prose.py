"""Code in prose: fenced blocks, and the command lines in them."""

import re


def blocks(text, language):
    """Return the fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def shell_lines(text, program):
    """Return the lines of shell blocks that call a program, without comments."""
    lines = [line.split("#")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(program)]

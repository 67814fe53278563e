"""Commands that a page names without their being run: they are there, and have the options that they are given."""

import re
import shlex
import subprocess
from functools import cache

ENDS = set("|&;<>()")


def options(page, place, problems):
    binary = str(place.folder / "bin/tidegate")
    for number, line in lines(page):
        for words in said(line):
            wrong = unknown(binary, words)
            if wrong:
                problems.add(page.name, number, wrong)


def lines(page):
    """What is typed in blocks, and what is named within a sentence."""
    for block in page.blocks:
        for number, line in enumerate(block.lines, block.line + 1):
            if block.language == "sh" or block.language == "console" and line.startswith("$ "):
                yield number, line.removeprefix("$ ")
    for number, line in page.prose:
        yield from ((number, code) for code in re.findall(r"`(tidegate [^`]+)`", line))


def said(line):
    """The words of each `tidegate` of a line, up to what ends a command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError:
        return
    for at, word in enumerate(words):
        if word == "tidegate" and (at == 0 or set(words[at - 1]) <= ENDS or words[at - 1] in ("sudo", "exec")):
            rest = words[at + 1 :]
            end = next((i for i, one in enumerate(rest) if set(one) <= ENDS), len(rest))
            yield rest[:end]


def unknown(binary, words):
    path = []
    while words and words[0] in helped(binary, tuple(path))[0]:
        path.append(words[0])
        words = words[1:]
    subcommands, known = helped(binary, tuple(path))
    # `COMMAND` stands for any, and a text may speak of all below a command.
    if subcommands and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return f"`tidegate {' '.join([*path, words[0]])}` is no command"
    for word in words if path else []:
        if word == "--":
            break
        option = re.match(r"--[a-z][a-z0-9-]*|-[a-zA-Z]", word)
        if option and option[0] not in known:
            return f"`tidegate {' '.join(path)}` has no option {option[0]}"
    return None


@cache
def helped(binary, path):
    """Commands below it, and its options."""
    text = subprocess.run([binary, *path, "--help"], capture_output=True, text=True, timeout=20).stdout
    below = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    names = re.findall(r"^  ([a-z][a-z-]*)", below[1], re.M) if below else []
    options = re.findall(r"^ {2,6}(-[a-zA-Z])?(?:, )?(--[a-z0-9-]+)?", text, re.M)
    return [name for name in names if name != "help"], {one for pair in options for one in pair if one}

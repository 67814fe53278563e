"""Markdown files, their fenced blocks, and what is wrong with them."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Beside docs: pages of the repository whose links are looked at.
OTHERS = ["*.md", "bench/*.md", "examples/*/*.md", "plugins/*.md", "plugins/*/*.md", "config/**/*.md"]


@dataclass
class Block:
    """A fenced block: what stands behind its fence, the number of that line, and its text."""

    language: str
    words: list
    line: int
    lines: list

    @property
    def text(self):
        return "".join(f"{line}\n" for line in self.lines)


@dataclass
class Page:
    """A file, as its path from the root."""

    name: str
    text: str
    blocks: list = field(default_factory=list)
    # Lines outside of blocks, with their numbers.
    prose: list = field(default_factory=list)

    @property
    def in_book(self):
        return self.name.startswith("docs/")


class Problems:
    """What does not hold, with its place."""

    def __init__(self):
        self._all = []

    def add(self, name, line, words):
        self._all.append((str(name), line, words))

    def extend(self, others):
        self._all += others._all

    def count(self):
        return len(self._all)

    def lines(self):
        for name, line, words in self._all:
            first, *more = words.rstrip("\n").split("\n")
            yield f"{name}:{line}: {first}" if line else f"{name}: {first}"
            yield from (f"    {line}" for line in more)


def parse(name, text):
    page, block, fence = Page(name, text), None, ""
    for number, line in enumerate(text.split("\n"), 1):
        opened = re.match(r"^( *)(```+|~~~+)(.*)$", line)
        if block is None and opened:
            language, *words = opened[3].split() or [""]
            block, fence, indent = Block(language, words, number, []), opened[2], len(opened[1])
        elif block is not None and line.strip() == fence:
            page.blocks.append(block)
            block = None
        elif block is not None:
            block.lines.append(line[indent:] if line[:indent].isspace() else line)
        else:
            page.prose.append((number, line))
    if block is not None:
        page.blocks.append(block)
    return page


def pages():
    """All there are, those of docs first. What git does not know is none of ours."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True
    )
    known = set(listed.stdout.split("\n")) if listed.returncode == 0 else None
    found = sorted(ROOT.glob("docs/**/*.md")) + sorted({path for one in OTHERS for path in ROOT.glob(one)})
    names = [str(path.relative_to(ROOT)) for path in found]
    return [parse(name, (ROOT / name).read_text()) for name in names if known is None or name in known]

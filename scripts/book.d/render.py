"""The book as HTML, and beside it what its pages link to in the rest of the repository."""

import html
import os
import shutil
import subprocess

import links
from pages import ROOT

# The book is below it as it is in the repository, so that links out of it lead to copies.
OUT = ROOT / "target/book/html"

# Where `scripts/soak book` installs it.
OURS = ROOT / "target/book/tools/bin/mdbook"


def build(pages):
    mdbook = shutil.which("mdbook") or (OURS if OURS.is_file() else None)
    if mdbook is None:
        print("mdbook is not there: `scripts/soak book` installs the version that this book was made for")
        return 69
    shutil.rmtree(OUT, ignore_errors=True)
    code = subprocess.run([mdbook, "build", str(ROOT), "--dest-dir", str(OUT / "docs")]).returncode
    if code:
        return code
    for name in sorted(linked(pages)):
        copy(name)
    # Some versions leave links to README.md as they are.
    for index in (OUT / "docs").glob("*/index.html"):
        shutil.copy(index, index.with_name("README.html"))
    print(f"{(OUT / 'docs/index.html').relative_to(ROOT)}")
    return 0


def linked(pages):
    """Files outside of docs."""
    for page in pages:
        for _, target in links.targets(page) if page.in_book else []:
            name = os.path.normpath(os.path.join(os.path.dirname(page.name), target.partition("#")[0]))
            if not name.startswith(("docs", "..")) and (ROOT / name).is_file():
                yield name


def copy(name):
    to = OUT / name
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / name, to)
    if name.endswith(".md"):
        text = html.escape((ROOT / name).read_text())
        to.with_suffix(".html").write_text(f'<!doctype html><meta charset="utf-8"><title>{name}</title><pre>{text}</pre>')

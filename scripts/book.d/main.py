"""`scripts/book`: what it does is told there."""

import os
import signal
import sys
from pathlib import Path

import links
import options
import recipes
import reference
import render
import run
from pages import Problems, pages

# Pages whose commands a test of the workspace runs, in several languages or with other brokers.
ELSEWHERE = {
    "docs/plugins/tutorial.md": "tests/tutorial.rs",
    "docs/plugins/cookbook.md": "tests/cookbook.rs",
    "docs/from-mosquitto.md": "tests/import/page.rs",
}


def check(binary, names):
    problems = Problems()
    every = pages()
    chosen = [page for page in every if not names or page.name in names]
    for name in set(names) - {page.name for page in every}:
        problems.add(name, 0, "there is no such page")
    if not names:
        links.summary(every, problems)
        links.links(every, problems)
        reference.check(binary, problems)
    with run.Place(binary) as place:
        for page in chosen:
            recipes.shows(page, problems)
            run.configurations(page, place, problems)
            options.options(page, place, problems)
            if page.name not in ELSEWHERE:
                run.commands(page, place, problems)
        for folder in recipes.folders():
            if not names or f"docs/recipes/{folder.name}.md" in names:
                recipes.tests(folder, place, problems)
        ran = place.ran
    for line in problems.lines():
        print(line)
    what = f"{len(chosen)} pages, {ran} commands run"
    print(f"{what}: {problems.count()} problems" if problems.count() else f"{what}: good")
    return 1 if problems.count() else 0


def main():
    # What was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    task, names = sys.argv[1], [os.path.normpath(name) for name in sys.argv[2:]]
    binary = Path(os.environ["TIDEGATE_BIN"]).resolve()
    if task == "check":
        return check(binary, names)
    if task == "reference":
        return reference.write(binary)
    if task == "recipes":
        return recipes.write()
    return render.build(pages())


sys.exit(main())

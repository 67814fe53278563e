"""`scripts/book`: what it does is told there."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import links
import options
import recipes
import reference
import render
import run
import terminal
from pages import Problems, pages

# Pages whose commands a test of the workspace runs, in several languages or with other brokers.
ELSEWHERE = {
    "docs/plugins/tutorial.md": "tests/tutorial.rs",
    "docs/plugins/cookbook.md": "tests/cookbook.rs",
    "docs/from-mosquitto.md": "tests/import/page.rs",
}


# Pages wait for their gateways most of their time.
AT_A_TIME = 4


def one(page, place):
    """All that stands on a page."""
    problems = Problems()
    recipes.shows(page, problems)
    run.configurations(page, place, problems)
    options.options(page, place, problems)
    if page.name not in ELSEWHERE:
        run.commands(page, place, problems)
    folder = recipes.folder_of(page)
    if folder is not None:
        recipes.tests(folder, place, problems)
    return problems


def check(binary, names):
    problems = Problems()
    every = pages()
    chosen = [page for page in every if not names or page.name in names]
    for name in set(names) - {page.name for page in every}:
        problems.add(name, 0, "there is no such page")
    if not names:
        links.summary(every, problems)
        links.links(every, problems)
        recipes.have_pages(problems)
        reference.check(binary, problems)
    with run.Place(binary) as place, ThreadPoolExecutor(AT_A_TIME) as pool:
        for told in (signal.SIGTERM, signal.SIGINT):
            signal.signal(told, lambda number, _: stop(place, number))
        for found in pool.map(lambda page: one(page, place), chosen):
            problems.extend(found)
        ran = place.ran
    for line in problems.lines():
        print(line)
    what = f"{len(chosen)} pages, {ran} commands run"
    print(f"{what}: {problems.count()} problems" if problems.count() else f"{what}: good")
    return 1 if problems.count() else 0


def stop(place, told):
    """What was started ends with it."""
    terminal.end_all()
    place.__exit__()
    os._exit(128 + told)


def main():
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

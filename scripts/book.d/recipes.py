"""Recipes: a folder with a configuration and its tests, and a page that shows it."""

from pages import ROOT, parse

PAGES = "docs/recipes"


def folders():
    return sorted(path.parent for path in ROOT.glob(f"{PAGES}/*/gateway.toml"))


def folder_of(page):
    """That of a recipe's page, if it is one."""
    folder = ROOT / page.name.removesuffix(".md")
    return folder if page.name.startswith(f"{PAGES}/") and folder.is_dir() else None


def shown(page, folder):
    """Its blocks that show a file of the folder."""
    for block in page.blocks:
        if block.language == "toml" and block.words:
            yield block, folder / block.words[0]


def shows(page, problems):
    """The page shows what is in the folder, all of it."""
    folder = folder_of(page)
    if folder is None:
        return
    seen = set()
    for block, file in shown(page, folder):
        seen.add(file)
        if not file.is_file():
            problems.add(page.name, block.line, f"there is no {file.relative_to(ROOT)}")
        elif file.read_text() != block.text:
            problems.add(page.name, block.line, f"is not {file.relative_to(ROOT)}: run `scripts/book recipes`")
    for file in sorted(folder.glob("**/*.toml")):
        if file not in seen:
            problems.add(page.name, 0, f"does not show {file.relative_to(ROOT)}")


def have_pages(problems):
    for folder in folders():
        if not folder.with_suffix(".md").is_file():
            problems.add(folder.relative_to(ROOT).with_suffix(".md"), 0, "there is no such page")


def tests(folder, place, problems):
    """Configuration and tests hold, as they stand."""
    for command in (["check", "gateway.toml"], ["test", "--config", "gateway.toml"]):
        done = place.tidegate(command, folder)
        if done.returncode:
            problems.add(folder.relative_to(ROOT) / "gateway.toml", 0, f"`tidegate {' '.join(command)}`\n{done.stdout}")


def write():
    """Puts the files into the pages."""
    for folder in folders():
        path = folder.with_suffix(".md")
        if not path.is_file():
            print(f"{path.relative_to(ROOT)}: there is no such page; write it")
            return 1
        lines = path.read_text().split("\n")
        for block, file in reversed(list(shown(parse(str(path.relative_to(ROOT)), path.read_text()), folder))):
            text = file.read_text().rstrip("\n").split("\n") if file.is_file() else block.lines
            lines[block.line : block.line + len(block.lines)] = text
        path.write_text("\n".join(lines))
    return 0

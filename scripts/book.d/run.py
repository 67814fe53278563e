"""Runs what a page tells its reader to type, and compares what comes with what it shows."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pages import ROOT
from recipes import folder_of
from terminal import PATIENCE_S, Terminal, free_port

PORT = re.compile(r"\b188\d\d\b")

# They show what a gateway that runs has come to a moment later: asked again until they do.
LOOKS = re.compile(r"^tidegate (status|dropped|parked list|spool status)\b|^curl ")
LOOK_S = 5

# A whole configuration, and no piece of one.
WHOLE = re.compile(r"^\[gateway\]", re.M)


class Place:
    """A folder for all of it, with `tidegate` on the path; it goes at the end."""

    def __init__(self, binary):
        self.binary, self.ran = binary, 0

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-book-"))
        (self.folder / "bin").mkdir()
        (self.folder / "bin/tidegate").symlink_to(self.binary)
        (self.folder / "plugins").symlink_to(ROOT / "plugins")
        cache_home = ROOT / "target/book/cache"
        cache_home.mkdir(parents=True, exist_ok=True)
        keep = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
        self.env = {
            **keep,
            "PATH": f"{self.folder}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin",
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(cache_home),
            "TIDEGATE_PLUGINS": str(ROOT / "plugins/dist"),
            "TERM": "xterm",
            "NO_COLOR": "1",
        }
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def tidegate(self, arguments, folder):
        self.ran += 1
        command = [self.folder / "bin/tidegate", *arguments]
        said = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        try:
            return subprocess.run(command, cwd=folder, env=self.env, timeout=PATIENCE_S, **said)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, f"it goes on for longer than {PATIENCE_S} s\n")

    def scratch(self, page):
        """Where a page is played through; that of a recipe as deep below as it is, for its relative paths."""
        folder = self.folder / named(page)
        recipe = folder_of(page)
        if recipe is None:
            folder.mkdir(exist_ok=True)
            return folder
        shutil.copytree(recipe, folder / recipe.relative_to(ROOT))
        (folder / "plugins").symlink_to(ROOT / "plugins")
        return folder / recipe.relative_to(ROOT)


def named(page):
    """As a folder's name."""
    return re.sub(r"\W", "_", page.name)


def configurations(page, place, problems):
    """Whole ones pass the check; those that a page names are checked where they are written."""
    folder = place.folder / f"whole_{named(page)}"
    for block in page.blocks:
        if block.language != "toml" or block.words or not WHOLE.search(block.text):
            continue
        folder.mkdir(exist_ok=True)
        for path in re.findall(r"^path = \"([^\"$]+)\"", block.text, re.M):
            stands_for(folder / path)
        (folder / "gateway.toml").write_text(block.text)
        done = place.tidegate(["check", "--no-plugins", "gateway.toml"], folder)
        if done.returncode:
            problems.add(page.name, block.line, f"does not pass `tidegate check`\n{done.stdout}")


def stands_for(plugin):
    """A file in the place of a plugin's, which is not looked into."""
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.touch()


def commands(page, place, problems):
    """From top to bottom, in one folder; after the first thing that does not hold the rest says nothing."""
    if not any(block.language == "console" for block in page.blocks):
        return
    ports, terminals = {}, {}
    folder = place.scratch(page)

    def ours(text):
        return PORT.sub(lambda port: ports.setdefault(port[0], str(free_port())), text)

    def theirs(text):
        back = {ours: theirs for theirs, ours in ports.items()}
        return re.sub(r"\b\d{4,5}\b", lambda port: back.get(port[0], port[0]), text)

    try:
        for block in page.blocks:
            if block.language == "toml" and block.words and folder_of(page) is None:
                write(block, folder, ours, place)
            elif block.language == "console":
                play(block, folder, ours, theirs, place, terminals)
    except Differs as differs:
        problems.add(page.name, differs.line, theirs(str(differs)))
    finally:
        for terminal in terminals.values():
            terminal.end()


class Differs(Exception):
    """The page is not right, in this line."""

    def __init__(self, line, words):
        super().__init__(words)
        self.line = line


def write(block, folder, ours, place):
    file = folder / block.words[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(ours(block.text))
    if not WHOLE.search(block.text):
        return
    done = place.tidegate(["check", file.name], folder)
    if (done.returncode != 0) != ("broken" in block.words):
        raise Differs(block.line, f"`tidegate check` ends with {done.returncode}\n{done.stdout}")


def sessions(block):
    """Each command of a block with its line, and what is shown below it."""
    found = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith("$ "):
            found.append((number, line[2:], []))
        elif found:
            found[-1][2].append(line)
        else:
            found.append((number, None, [line]))
    return found


def play(block, folder, ours, theirs, place, terminals):
    name = next((word for word in block.words if word.startswith("@")), None)
    for line, command, shown in sessions(block):
        shown = [text.rstrip() for text in shown]
        if name is None:
            if command is None:
                raise Differs(line, "a line before the first command")
            one(line, command, shown, "fails" in block.words, folder, ours, theirs, place)
            continue
        if command == "^C":
            terminals[name].interrupt()
        elif command is not None:
            place.ran += 1
            terminals[name] = Terminal(ours(command), folder, place.env)
        elif name not in terminals:
            raise Differs(line, f"there is no terminal {name}")
        missing = terminals[name].shows(shown, theirs)
        if missing is not None:
            raise Differs(line, f"{name} does not show `{missing}`, but\n{theirs(terminals[name].rest())}")
        if command == "^C":
            terminals.pop(name).end()


def one(line, command, shown, fails, folder, ours, theirs, place):
    """A command that ends."""
    until = time.monotonic() + (LOOK_S if LOOKS.match(command) else 0)
    while True:
        place.ran += 1
        terminal = Terminal(ours(command), folder, place.env)
        code, printed = terminal.ends(), theirs(terminal.text()).rstrip()
        if code is None:
            raise Differs(line, f"`{command}` goes on for longer than {PATIENCE_S} s, and prints\n{printed}")
        ended = (code != 0) == fails
        if ended and (not shown or same(shown, printed.split("\n"))):
            return
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    if not ended:
        raise Differs(line, f"`{command}` ends with {code}, and prints\n{printed}")
    raise Differs(line, f"`{command}` does not print what is shown, but\n{printed}")


def same(shown, printed):
    """`...` alone is any lines, and any text within one."""
    lines = [".*" if line == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]*") for line in shown]
    pattern = "".join(r"(?:.*\n)*?" if one == ".*" else one + "\n" for one in lines)
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in printed)) is not None

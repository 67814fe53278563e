"""docs/reference.md out of what the program says of itself."""

import json
import re
import subprocess

from pages import ROOT

PAGE = ROOT / "docs/reference.md"

# What `config/tidegate.toml` writes beside `# default` is the default.
WRITTEN = ROOT / "config/tidegate.toml"

OPENING = """# Reference

Made by `scripts/book reference` out of what the program says: `tidegate COMMAND --help`, and `tidegate schema`, whose words are the comments of
[config/tidegate.toml](../config/tidegate.toml). What the keys of a plugin's `config` are stands in the README of each in [plugins](../plugins/README.md);
the exit codes in [operations](operations.md#start-reload-stop); the metrics in [metrics](metrics.md); the files of tests in [testing](testing.md).
"""


def text(binary):
    tell = lambda *words: subprocess.run([binary, *words], capture_output=True, text=True, check=True, timeout=20).stdout
    schema = json.loads(tell("schema"))
    parts = [OPENING, "## Commands\n", *commands(tell), "## Keys of the configuration\n", *keys(schema)]
    return "\n".join(parts)


def check(binary, problems):
    if not PAGE.is_file() or PAGE.read_text() != text(binary):
        problems.add("docs/reference.md", 0, "is not what the program says: run `scripts/book reference`, and commit it")


def write(binary):
    PAGE.write_text(text(binary))
    return 0


def commands(tell, path=()):
    """One after the other, those below each behind it."""
    said = tell(*path, "--help")
    usage = re.search(r"^Usage: (.*)$", said, re.M)[1]
    below = [name for name in re.findall(r"^  ([a-z-]+)  ", section(said, "Commands"), re.M) if name != "help"]
    if path:
        yield f"{'#' * min(2 + len(path), 4)} tidegate {' '.join(path)}\n"
        yield f"{said.split(chr(10), 1)[0]}.\n"
    if not below:
        yield f"```text\n{usage}\n```\n"
    else:
        usage and not path and (yield general(said))
    rows = [*entries(section(said, "Arguments")), *(entries(section(said, "Options")) if path else [])]
    rows = [(name, words) for name, words in rows if not re.search(r"--(log-format|help|version)\b", name)]
    if rows and not below:
        yield "| | |\n|---|---|"
        yield from (f"| {code(name)} | {cell(words)} |" for name, words in rows)
        yield ""
    for name in below:
        yield from commands(tell, (*path, name))


def general(said):
    words = dict(entries(section(said, "Options"))).get("--log-format <LOG_FORMAT>", "")
    return f"Every command has `--help` and `--log-format`: {words[:1].lower()}{words[1:]}.\n"


def section(said, name):
    found = re.search(rf"^{name}:\n((?:[ ].*\n|\n)*)", said, re.M)
    return found[1] if found else ""


def entries(text):
    """Names and words: both stand in one line, or the words below, further in."""
    name, words = None, []
    for line in text.split("\n"):
        begins = re.match(r"^ {2,6}((?:-|\[|<)\S.*?)(?:  +(.*))?$", line) if not line.startswith(" " * 7) else None
        if begins:
            if name:
                yield name, joined(words)
            name, words = begins[1], [begins[2] or ""]
        else:
            words.append(line.strip())
    if name:
        yield name, joined(words)


def joined(words):
    """As one sentence; the values that are possible as a list of them."""
    text = " ".join(word for word in words if word)
    first, _, values = text.partition("Possible values: - ")
    if not values:
        return text
    values, _, default = values.partition(" [default: ")
    listed = "; ".join(f"`{one.partition(':')[0]}`:{one.partition(':')[2]}" for one in values.split(" - "))
    return f"{first.rstrip()}; {listed}" + (f" [default: {default}" if default else "")


def code(text):
    return f"`{text}`".replace("|", "\\|")


def cell(words):
    words = re.sub(r"\[default: ([^\]]*)\]", r"(default: `\1`)", words)
    # What stands in angle brackets outside of code would be taken for HTML.
    outside = re.split(r"(`[^`]*`)", words)
    return "".join(one if one.startswith("`") else one.replace("<", "&lt;") for one in outside).replace("|", "\\|")


def defaults():
    """By section and key, where the value written is the default; the section without a broker's own name."""
    found, where, all_default = {}, "", False
    for line in WRITTEN.read_text().split("\n"):
        header = re.match(r"^\[+([^\]]+)\]+ *(#.*)?$", line)
        if header:
            parts = header[1].split(".")
            where = ".".join([parts[0], *parts[2:]] if parts[0] in ("brokers", "sources", "targets", "plugins") else parts)
            all_default = "all of these are the default" in (header[2] or "")
            continue
        key = re.match(r"^(\w+) = (.*?)(?: +# (.*))?$", line)
        if key and (all_default or re.match(r"default(;|$)", key[3] or "")):
            found.setdefault((where, key[1]), key[2])
    return found


def keys(schema):
    """A table for each section, in the order in which a reader meets them."""
    told, written, defs = set(), defaults(), schema["$defs"]
    top = schema["properties"]
    yield "Durations have a unit (`\"500ms\"`, `\"1h 30m\"`), and so have sizes (`\"64KiB\"`, `\"1GiB\"`). A secret is `{ file = \"...\" }`, `{ env = \"...\" }` or"
    yield "`{ credential = \"...\" }`. `NAME` in a heading is a name of your own.\n"
    yield "Above all sections:\n"
    yield from table({"include": top["include"]}, "", written)
    for name in ["gateway", "admin", "brokers", "sources", "targets", "plugins", "routes"]:
        named = "additionalProperties" in top[name] and "properties" in defs[name] and "propertyNames" in top[name]
        heading = f"[[{name}]]" if top[name].get("type") == "array" else f"[{name}.NAME]" if named else f"[{name}]"
        for key, value in top[name].get("properties", {}).items():
            yield f"### `[{name}]`\n"
            yield from table({key: value["anyOf"][0]}, name, written)
        yield from part(heading, name, name, defs, written, told)


def part(heading, where, name, defs, written, told):
    """A section and those below it."""
    if (where, name) in told:
        return
    told.add((where, name))
    properties = defs[name].get("properties", {})
    yield f"### `{heading}`\n"
    yield from table(properties, where, written)
    bare = heading.strip("[]")
    for key, value in properties.items():
        for target in referred(value):
            if target != "password":
                yield from part(f"[{bare}.{key}]", f"{where}.{key}", target, defs, written, told)


def referred(value):
    if "$ref" in value:
        yield value["$ref"].rsplit("/", 1)[1]
    for one in value.get("anyOf", []):
        yield from referred(one)


def table(properties, where, written):
    yield "| Key | Type | Default | |\n|---|---|---|---|"
    for key, value in properties.items():
        default, words = default_of(key, value, where, written)
        yield f"| `{key}` | {typed(value)} | {default} | {cell(words)} |"
    yield ""


# A default that can be written, in place of one that is told in words.
LITERAL = re.compile(r"^(\".*\"|[0-9]+|true|false|\[.*\]|\{.*\}|tidegate\S*)$")


def default_of(key, value, where, written):
    """What stands in front of a comment, as `default` or `required`, and the words behind it."""
    words, default = value.get("description", ""), written.get((where, key), "")
    told = re.match(r"default(?:: ((?:`[^`]*`|\"[^\"]*\"|\[\]|\{\}|[^;,`\"])*))?(?:[;,] |$)|(required)(?:[; ] *|$)", words)
    if told and value.get("type") == "boolean" and (told[1] or "false") not in ("true", "false"):
        default, words = "false", words.removeprefix("default: ")
    elif told:
        default, words = default or told[1] or told[2] or "", words[told.end() :]
    return code(default) if LITERAL.match(default) else cell(default), words


def typed(value):
    """In words, with its bounds."""
    if "$ref" in value:
        return "secret" if value["$ref"].endswith("/password") else "table (below)"
    if "enum" in value:
        return ", ".join(f"`\"{one}\"`" for one in value["enum"])
    if "anyOf" in value:
        return either(value["anyOf"])
    kind = value.get("type")
    if kind == "array":
        return f"list of {typed(value['items'])}s"
    if kind == "object":
        of = value.get("additionalProperties")
        return f"table of {typed(of)}" if isinstance(of, dict) else "table"
    if kind == "integer":
        return f"{value.get('minimum', '')} to {value.get('maximum', '')}" if "maximum" in value else "number"
    return {"string": "text", "boolean": "true or false"}.get(kind, kind or "any")


def either(ways):
    """Several; that a text may be a variable is said once, elsewhere."""
    texts = [way for way in ways if way.get("type") == "string" and "pattern" in way]
    if any("KiB" in way["pattern"] for way in texts):
        bytes_of = next(way for way in ways if way.get("type") == "integer")
        return f"size, {size(bytes_of['minimum'])} to {size(bytes_of['maximum'])}"
    if any("µ" in way["pattern"] for way in texts):
        return "duration"
    return " or ".join(dict.fromkeys(typed(way) for way in ways if way not in texts))


def size(count):
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count and count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    return f"{count} B"

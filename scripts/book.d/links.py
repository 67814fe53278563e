"""Whether the table of contents is whole, and links lead somewhere."""

import os
import re

from pages import ROOT, parse

LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]: *<?([^\s>]+)")


def summary(pages, problems):
    """docs/SUMMARY.md names each page once."""
    page = next((page for page in pages if page.name == "docs/SUMMARY.md"), None)
    if page is None:
        problems.add("docs/SUMMARY.md", 0, "there is none")
        return
    named = {}
    for number, line in page.prose:
        for target in LINK.findall(line):
            name = os.path.normpath(f"docs/{target}")
            if name in named:
                problems.add(page.name, number, f"{target} is named in line {named[name]} too")
            named[name] = number
            if not name.startswith("docs/"):
                problems.add(page.name, number, f"{target} is not in docs, and a book has no such pages")
    for other in pages:
        if other.in_book and other.name not in named and other is not page:
            problems.add(page.name, 0, f"does not name {other.name}")


def anchors(page):
    """Of its headings, as GitHub and mdBook make them, and those written as HTML."""
    found, seen = set(), {}
    for _, line in page.prose:
        found.update(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
        heading = re.match(r"^#{1,6} +(.*?)(?: +#+)?$", line)
        if not heading:
            continue
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def targets(page):
    """Each link with its line; code is no link."""
    for number, line in page.prose:
        line = re.sub(r"(`+).*?\1", lambda code: "`" * len(code[0]), line)
        for target in LINK.findall(line) + DEFINITION.findall(line) + re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", line):
            if not re.match(r"[a-z][a-z0-9+.-]*:|//", target):
                yield number, target


def links(pages, problems):
    known = {page.name: page for page in pages}
    made = {}
    for page in pages:
        for number, target in targets(page):
            path, _, anchor = target.partition("#")
            name = os.path.normpath(os.path.join(os.path.dirname(page.name), path)) if path else page.name
            if name.startswith("..") or not (ROOT / name).exists():
                problems.add(page.name, number, f"the link {target} leads nowhere")
                continue
            if not anchor or not name.endswith(".md"):
                continue
            if name not in made:
                made[name] = anchors(known.get(name) or parse(name, (ROOT / name).read_text()))
            if anchor not in made[name]:
                problems.add(page.name, number, f"{name} has no heading for #{anchor}")

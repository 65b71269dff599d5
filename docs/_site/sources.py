"""mkdocs: source files that pages link to become pages of the site, so that it is whole without a network.

A page says ``[ppo.py](../sb3_isaac/rl/algo/ppo.py)``, which leads somewhere in a checkout. In the site it leads to a
page ``sources/sb3_isaac/rl/algo/ppo.py.md`` that shows the file; to a folder, to a list of its files.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".xml": "xml", ".yml": "yaml"}


def on_files(files, config):
    """Add a page for each file outside of docs/ that a page links to."""
    wanted = set()
    for page in files.documentation_pages():
        for link in LINK.findall(page.content_string):
            path = outside(link[0], page.src_uri)
            if path is not None:
                wanted.add(path)
    for path in sorted(wanted):
        files.append(generated(config, path))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links outside of docs/ lead to these pages."""
    if page.file.src_uri.startswith("sources/"):
        return markdown

    def changed(match):
        path = outside(match[1], page.file.src_uri)
        if path is None:
            return match[0]
        start = posixpath.dirname(page.file.src_uri)
        return f"]({posixpath.relpath(source_page(path), start or '.')})"

    return LINK.sub(changed, markdown)


def outside(link, page):
    """The path from the repository's root of a link that leads out of docs/; None for others."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link.replace("\\", "")))
    return None if path.startswith("docs/") or not (ROOT / path).exists() else path


def source_page(path):
    """The page that shows a file or folder."""
    return f"sources/{path}.md"


def generated(config, path):
    """A page with the file's text, or with the names in a folder."""
    full = ROOT / path
    if full.is_dir():
        names = sorted(item.name for item in full.iterdir() if not item.name.startswith(("_", ".")))
        text = "\n".join(f"- `{name}`" for name in names)
    else:
        text = full.read_text(encoding="utf-8")
        fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=2) + 3)
        text = f"{fence}{LANGUAGES.get(os.path.splitext(path)[1], 'text')}\n{text}\n{fence}"
    head = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n"
    return File.generated(config, source_page(path), content=head + text, inclusion=InclusionLevel.NOT_IN_NAV)

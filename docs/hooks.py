"""What mkdocs does not do by itself.

Links that lead out of docs/ work on a code host and have no page here. Pictures of the reference results are copied
into the site; any other such link becomes the path that it leads to. Roles of Sphinx in docstrings are left out.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?)\[([^\]]*)\]\((\.\./[^)\s]*)\)")
PICTURES = "reference"
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(<code>)~?")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrites the links of one page."""
    folder = posixpath.dirname(page.file.src_uri)

    def rewritten(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path.startswith("docs/"):
            return link[0]
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"docs/{page.file.src_uri} links to {path}, which does not exist")
        if not picture:
            return f"{text} (`{path}`)"
        name = f"{PICTURES}/{path.replace('/', '-')}"
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
        return f"![{text}]({posixpath.relpath(name, folder or '.')})"

    return LINK.sub(rewritten, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001  the names are mkdocs's
    """Leaves out ``:func:`` before names in code."""
    return ROLE.sub(r"\1", html)

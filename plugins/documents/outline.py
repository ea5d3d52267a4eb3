"""The tool `outline_document`: what a Markdown or HTML document is made of, without its prose."""

from __future__ import annotations

from typing import Any

from bs4 import BeautifulSoup

import prose
from bounds import Unfit, check_text

MAX_ENTRIES = 500
MAX_TEXT = 300


def execute_plugin(inputs: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """`inputs` holds each argument as `{"value": …}`."""
    args = {name: given["value"] for name, given in inputs.items()}
    try:
        outputs = outline(check_text(args.get("text")), args.get("source_format"))
    except Unfit as error:
        return {"success": False, "error": str(error)}
    except RecursionError:
        return {"success": False, "error": "the document is nested too deeply"}
    return {"success": True, "outputs": outputs}


def outline(text: str, source: object) -> dict[str, Any]:
    """Title, headings, links, images, and how many tables, lists and code blocks there are."""
    if source not in ("markdown", "html"):
        raise Unfit("`source_format` must be markdown or html")
    soup = prose.soup_of(prose.html_of_markdown(text) if source == "markdown" else text)
    headings = [
        {"level": int(tag.name[1]), "text": _said(tag)}
        for tag in soup.find_all(["h1", "h2", "h3", "h4", "h5", "h6"], limit=MAX_ENTRIES)
    ]
    first = next((heading["text"] for heading in headings if heading["level"] == 1), None)
    return {
        "title": (str(soup.attrs.get("title", "")) or first or None),
        "headings": headings,
        "links": [
            {"text": _said(tag), "url": _url(tag, "href")} for tag in soup.find_all("a", href=True, limit=MAX_ENTRIES)
        ],
        "images": [
            {"alt": str(tag.get("alt") or "")[:MAX_TEXT], "url": _url(tag, "src")}
            for tag in soup.find_all("img", src=True, limit=MAX_ENTRIES)
        ],
        "tables": len(soup.find_all("table")),
        "lists": len(soup.find_all(["ul", "ol"])),
        "code_blocks": len(soup.find_all("pre")),
        "words": _words(soup),
    }


def _said(tag: Any) -> str:
    return " ".join(tag.get_text(" ").split())[:MAX_TEXT]


def _url(tag: Any, name: str) -> str:
    return str(tag.get(name))[:2000]


def _words(soup: BeautifulSoup) -> int:
    return len(prose.text_of(soup).replace("- ", " ").split())

"""Markdown and HTML as documents: parsing, sanitising, and the ways between them and plain text."""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup, Comment, Doctype, NavigableString, Tag
from markdown_it import MarkdownIt
from markdownify import MarkdownConverter

from bounds import MAX_DEPTH, Unfit

# Never part of what a reader sees.
_INVISIBLE = ("script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "head")
_BLOCKS = frozenset(
    "address article aside blockquote dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr li main nav ol p pre section summary table tr ul".split()
)
_SAFE_LINK = re.compile(r"(?:https?:|mailto:|tel:|[^:]*$|[^:]*[/?#])", re.IGNORECASE)
# Blanks between the parts of these mean nothing.
_CONTAINERS = frozenset("table thead tbody tfoot tr ul ol dl".split())
# Characters that the parser may read in search of the ends of tags, over all tags together.
_MAX_SEARCH = 10_000_000
# Of nested quotes and lists; what is deeper is taken as text.
_MAX_NESTING = 40

# Raw HTML in Markdown is shown as text, never passed on.
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING}).enable(["table", "strikethrough"])


def html_of_markdown(text: str) -> str:
    """HTML without any of the author's own tags; links of unsafe kinds are left as text by the parser."""
    _check_brackets(text)
    return str(_MARKDOWN.render(text))


def _check_brackets(text: str) -> None:
    # The search for a link's end starts anew at each bracket: one paragraph of brackets alone takes quadratic time.
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if (
            paragraph.count("[") > 2_000
            or paragraph.count("<") > 5_000
            or paragraph.count("*") + paragraph.count("_") > 20_000
        ):
            raise Unfit("a paragraph holds too many brackets or emphasis marks")


def soup_of(html: str) -> BeautifulSoup:
    """The visible part of an HTML document, with links of unsafe kinds taken off."""
    # The parser looks for the end of each of these again from every start.
    if html.count("<!") + html.count("<?") > 2_000 or html.count("<") > 50_000:
        raise Unfit("the HTML holds too many tags")
    # From each `<` the parser looks for its `>`; where there is none, to the end of the text, each time.
    search, end = 0, len(html)
    for place in range(len(html) - 1, -1, -1):
        if html[place] == ">":
            end = place
        elif html[place] == "<":
            search += end - place
    if search > _MAX_SEARCH:
        raise Unfit("the HTML holds too many tags that are not closed")
    soup = BeautifulSoup(html, "html.parser")
    _check_depth(soup)
    title = soup.title.get_text(" ", strip=True) if soup.title else None
    for hidden in soup.find_all(_INVISIBLE):
        hidden.decompose()
    for text in soup.find_all(string=lambda found: isinstance(found, (Comment, Doctype))):
        text.extract()
    for tag in soup.find_all(["a", "img"]):
        for name in ("href", "src"):
            value = tag.get(name)
            if value is not None and not _SAFE_LINK.match("".join(str(value).split())):
                del tag[name]
    if title:
        soup.attrs["title"] = title
    return soup


def _check_depth(soup: BeautifulSoup) -> None:
    """Everything after this walks the tree by recursion."""
    depths = {id(soup): 0}
    for element in soup.descendants:
        if isinstance(element, Tag):
            depth = depths[id(element.parent)] + 1
            if depth > MAX_DEPTH:
                raise Unfit(f"the HTML is nested over {MAX_DEPTH} deep")
            depths[id(element)] = depth


class _Converter(MarkdownConverter):  # type: ignore[misc]
    """markdownify's rules, with the language of a code block kept."""

    def convert_pre(self, el: Any, text: str, parent_tags: Any) -> str:
        return str(super().convert_pre(el, text, parent_tags)) if text else ""


def markdown_of(soup: BeautifulSoup) -> str:
    """Markdown with `#` headings and `-` lists."""
    converter = _Converter(heading_style="ATX", bullets="-", code_language_callback=_language, escape_misc=False)
    text = str(converter.convert_soup(soup))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _language(pre: Tag) -> str:
    code = pre.find("code")
    classes = (code.get("class") if isinstance(code, Tag) else None) or []
    names = [name[9:] for name in classes if str(name).startswith("language-")]
    return str(names[0]) if names and re.fullmatch(r"[\w+#.-]{1,40}", names[0]) else ""


def text_of(soup: BeautifulSoup) -> str:
    """What a reader sees: a block a paragraph, a list item a line with a dash, cells of a table apart by tabs."""
    parts: list[str] = []
    _collect(soup, parts, False)
    lines = [line.strip(" ") for line in "".join(parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _collect(element: Tag, parts: list[str], preformatted: bool) -> None:
    for child in element.children:
        if isinstance(child, NavigableString):
            if element.name in _CONTAINERS and not child.strip():
                continue
            parts.append(str(child) if preformatted else _flow(str(child), parts))
        elif isinstance(child, Tag):
            _collect_tag(child, parts, preformatted)


def _flow(text: str, parts: list[str]) -> str:
    """Runs of blanks count as one, and as none at the start of a line."""
    flat = re.sub(r"\s+", " ", text)
    return flat.lstrip() if not parts or parts[-1].endswith(("\n", "\t", "- ")) else flat


def _collect_tag(child: Tag, parts: list[str], preformatted: bool) -> None:
    name = child.name
    if name == "br":
        parts.append("\n")
    elif name == "img":
        parts.append(str(child.get("alt") or ""))
    elif name in ("td", "th"):
        _collect(child, parts, preformatted)
        parts.append("\t" if child.find_next_sibling(["td", "th"]) else "")
    elif name in _BLOCKS:
        gap = "\n" if name in ("li", "tr", "dt", "dd") else "\n\n"
        parts.append(gap + ("- " if name == "li" else ""))
        _collect(child, parts, preformatted or name == "pre")
        parts.append("" if name in ("li", "tr") else gap)
    else:
        _collect(child, parts, preformatted)

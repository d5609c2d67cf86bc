"""Pages where a file was expected: Google Drive's question whether to go on unscanned, and what else a page says."""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

from segtrain import terminal

# Google Drive asks before it hands out what is too large for its virus scan: a form with the real address.
CONFIRMING_HOSTS = frozenset({"drive.google.com", "drive.usercontent.google.com"})
PAGE_LENGTH = 2**20
_FORM = "download-form"


def confirmed_address(page: str, url: str) -> str | None:
    """The address that the form of a page of Google Drive leads to; None where the page has none.

    The form may only lead to a host that asks so itself.
    """
    form = _Form()
    form.feed(page)
    if form.action is None:
        return None
    action = urljoin(url, form.action)
    if urlsplit(action).hostname not in CONFIRMING_HOSTS:
        return None
    return f"{action.partition('?')[0]}?{urlencode(form.fields)}"


def page_title(page: str) -> str:
    """What a page calls itself: `Google Drive - Quota exceeded`."""
    found = re.search(r"<title[^>]{0,200}>([^<]{1,200})</title", page, re.IGNORECASE)
    return printable(" ".join(found[1].split())) if found else "it has no title"


def printable(text: str) -> str:
    """Text of a stranger for a message: nothing that steers a terminal, and not endless."""
    return terminal.printable(text)[:200]


class _Form(HTMLParser):
    """The action and the hidden fields of the form."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form" and named.get("id") == _FORM:
            self.action, self._inside = named.get("action", ""), True
        elif tag == "input" and self._inside and named.get("name"):
            self.fields[named["name"]] = named.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"

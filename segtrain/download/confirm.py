"""Parse HTML pages served where a file was expected, such as Google Drive's confirmation form for large files."""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

from segtrain import terminal

# For files too large for its virus scan, Google Drive serves a form whose action is the real address.
CONFIRMING_HOSTS = frozenset({"drive.google.com", "drive.usercontent.google.com"})
PAGE_LENGTH = 2**20
_FORM = "download-form"


def confirmed_address(page: str, url: str) -> str | None:
    """Return the address that the confirmation form of a Google Drive page submits to; None without a form.

    Addresses on hosts outside CONFIRMING_HOSTS are rejected with None.
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
    """Return the title of an HTML page, such as `Google Drive - Quota exceeded`."""
    found = re.search(r"<title[^>]{0,200}>([^<]{1,200})</title", page, re.IGNORECASE)
    return printable(" ".join(found[1].split())) if found else "a page without a title"


def printable(text: str) -> str:
    """Escape untrusted text for a message and cut it to 200 characters."""
    return terminal.printable(text)[:200]


class _Form(HTMLParser):
    """Parser that collects the action and the input fields of the confirmation form."""

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

"""Responses of HTTPS addresses by requests: redirects to HTTPS only, and HTML pages told from files."""

import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from segtrain import __version__
from segtrain.download.confirm import CONFIRMING_HOSTS, PAGE_LENGTH, confirmed_address, page_title, printable
from segtrain.process.threads import Threads

CHUNK = 2**18
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_REQUESTED_PAUSE = 60
_MOST_REDIRECTS = 8


class Refused(Exception):
    """An address that does not serve the file, however often it is asked.

    Attributes:
        found: Whether anything was found there at all.
    """

    def __init__(self, reason: str, found: bool = True) -> None:
        super().__init__(reason)
        self.found = found


class Broken(Exception):
    """A connection that broke, or a busy server: worth another try.

    Attributes:
        pause: Seconds to wait that the server has asked for.
    """

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries.

    Attributes:
        timeout: Seconds to connect, and seconds without a byte.
        slowest: Bytes a second, averaged over `timeout`, below which a server counts as stalled.
        attempts: Fruitless tries at one address.
        pause: Seconds before the second try; doubled before each further one.
        plain_hosts: Hosts that may be asked over HTTP without TLS: for tests.
    """

    timeout: float = 60
    slowest: float = 1000
    attempts: int = 5
    pause: float = 1
    plain_hosts: frozenset[str] = frozenset()


def next_bytes(response: requests.Response, length: int) -> bytes:
    """Return the bytes that have arrived, at least one; none at the end."""
    try:
        return response.raw.read1(CHUNK, decode_content=False)
    except urllib3.exceptions.ReadTimeoutError:
        raise Broken(f"stalled after {length:,} bytes") from None
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # a ValueError is a chunk without a length
        missing = response.raw.length_remaining
        whole = f" of {length + missing:,}" if missing else ""
        raise Broken(f"the connection broke after {length:,}{whole} bytes ({type(error).__name__})") from None


class Opener:
    """Requests addresses of HTTPS, follows redirects to such, and answers a page that asks to confirm."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._session = requests.Session()
        self._session.max_redirects = _MOST_REDIRECTS
        # Another encoding would change the lengths, and with them the meaning of a range.
        self._session.headers.update({"User-Agent": f"segtrain/{__version__}", "Accept-Encoding": "identity"})
        adapter = _Adapter(patience)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    def open(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        response = self._ask(url, headers)
        if not _is_page(response):
            return response
        with response:
            page = self._read_page(response)
        address = confirmed_address(page, url) if urlsplit(url).hostname in CONFIRMING_HOSTS else None
        if address is None:
            raise Refused(f"a page instead of an archive: {page_title(page)}")
        response = self._ask(address, headers)
        if _is_page(response):
            response.close()
            raise Refused("one page after the other instead of an archive")
        return response

    def _read_page(self, response: requests.Response) -> str:
        page, latest = b"", time.monotonic() + self._patience.timeout
        while len(page) < PAGE_LENGTH and time.monotonic() < latest and (data := next_bytes(response, len(page))):
            page += data
        return page.decode("utf-8", "replace")

    def _ask(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self._patience.timeout)
        except (ValueError, requests.TooManyRedirects) as error:  # requests' errors of an address are ValueErrors
            raise Refused(f"{printable(str(error))}, expected https://") from None
        except requests.RequestException as error:
            raise _of_failure(error) from None
        status = response.status_code
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return response
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            return response
        response.close()
        shown = f"{status} {printable((response.reason or '?').splitlines()[0])}"
        if status not in _WORTH_ANOTHER_TRY:
            raise Refused(shown)
        asked = response.headers.get("Retry-After", "")
        raise Broken(shown, min(float(asked), _LONGEST_REQUESTED_PAUSE) if re.fullmatch("[0-9]{1,20}", asked) else 0)


class _Adapter(HTTPAdapter):
    """Sends one request: each hop of a redirect passes here."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> Any:
        # The system's certificates in addition to certifi's.
        return super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **options)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        _require_safe(str(request.url), self._patience)
        request.headers.pop("Authorization", None)  # requests takes passwords from a .netrc file, also for redirects
        # The timeout of a socket begins anew with each byte, so that headers could drip in for ever.
        threads = Threads(1, "segtrain-download")
        try:
            future = threads.submit(lambda: HTTPAdapter.send(self, request, *args, **options))
            response = future.result(2 * self._patience.timeout)
        except TimeoutError:
            raise requests.Timeout from None
        finally:
            threads.close(seconds=0)
        if response.is_redirect:
            response.close()  # requests would read the body of a redirect to its end, and it may have none
        return response


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"


def _require_safe(url: str, patience: Patience) -> None:
    parts = urlsplit(url)
    if not (parts.scheme == "https" and parts.hostname or parts.hostname in patience.plain_hosts):
        raise Refused(f"leads to {printable(url)[:80]}, expected https://")


def _of_failure(failure: requests.RequestException) -> Exception:
    if isinstance(failure, requests.Timeout):
        return Broken("no answer in time")
    error = _root(failure)
    if isinstance(error, socket.gaierror):
        return Refused("no such host, or no network", found=False)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(f"its certificate does not hold: {printable(error.verify_message)}", found=False)
    strerror = error.strerror if isinstance(error, OSError) else None
    return Broken(printable(strerror or f"no sound answer ({type(error).__name__}: {error})"))


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: requests wraps errors of urllib3, which wrap those of the system."""
    causes = (getattr(error, "reason", None), error.__cause__, *error.args, error.__context__)
    cause = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    return error if cause is None else _root(cause)

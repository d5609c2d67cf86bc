"""Open HTTPS addresses with requests: redirects to HTTPS only, and HTML pages rejected where a file is expected."""

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

from segtrain.download.confirm import CONFIRMING_HOSTS, PAGE_LENGTH, confirmed_address, page_title, printable
from segtrain.process.threads import Threads
from segtrain.version import __version__

CHUNK = 2**18
_RETRYABLE_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_MAX_RETRY_AFTER = 60
_MAX_REDIRECTS = 8


class Refused(Exception):
    """The address does not serve the file, and retrying does not help.

    Attributes:
        found: Whether a server answered at all.
    """

    def __init__(self, reason: str, found: bool = True) -> None:
        super().__init__(reason)
        self.found = found


class Broken(Exception):
    """A broken connection or a busy server; retrying may help.

    Attributes:
        pause: Seconds to wait as requested by the server (Retry-After).
    """

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and retries of a download.

    Attributes:
        timeout: Seconds to wait for a connection, and for the next byte.
        slowest: Bytes per second, averaged over `timeout`, below which a server counts as stalled.
        attempts: Attempts without progress at one address before giving up.
        pause: Seconds before the second attempt; doubled before each further one.
        plain_hosts: Hosts that may be requested over HTTP without TLS, for tests.
    """

    timeout: float = 60
    slowest: float = 1000
    attempts: int = 5
    pause: float = 1
    plain_hosts: frozenset[str] = frozenset()


def next_bytes(response: requests.Response, length: int) -> bytes:
    """Return the bytes that have arrived, at least one; empty at the end of the response."""
    try:
        return response.raw.read1(CHUNK, decode_content=False)
    except urllib3.exceptions.ReadTimeoutError:
        raise Broken(f"stalled after {length:,} bytes") from None
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: a chunk without a length
        missing = response.raw.length_remaining
        total = f" of {length + missing:,}" if missing else ""
        raise Broken(f"the connection broke after {length:,}{total} bytes ({type(error).__name__})") from None


class Opener:
    """HTTPS client that follows redirects to HTTPS only and submits Google Drive's confirmation form."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._session = requests.Session()
        self._session.max_redirects = _MAX_REDIRECTS
        # A content encoding would change the length of the body, which byte ranges refer to.
        self._session.headers.update({"User-Agent": f"segtrain/{__version__}", "Accept-Encoding": "identity"})
        adapter = _Adapter(policy)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    def open(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        response = self._get(url, headers)
        if not _is_page(response):
            return response
        with response:
            page = self._read_page(response)
        address = confirmed_address(page, url) if urlsplit(url).hostname in CONFIRMING_HOSTS else None
        if address is None:
            raise Refused(f"a page instead of an archive: {page_title(page)}")
        response = self._get(address, headers)
        if _is_page(response):
            response.close()
            raise Refused("a page instead of an archive, also after confirming the download")
        return response

    def _read_page(self, response: requests.Response) -> str:
        page, latest = b"", time.monotonic() + self._policy.timeout
        while len(page) < PAGE_LENGTH and time.monotonic() < latest and (data := next_bytes(response, len(page))):
            page += data
        return page.decode("utf-8", "replace")

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self._policy.timeout)
        except (ValueError, requests.TooManyRedirects) as error:  # requests raises ValueErrors for invalid addresses
            raise Refused(f"{printable(str(error))}, expected https://") from None
        except requests.RequestException as error:
            raise _classify(error) from None
        status = response.status_code
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return response
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            return response
        response.close()
        shown = f"{status} {printable((response.reason or '?').splitlines()[0])}"
        if status not in _RETRYABLE_STATUSES:
            raise Refused(shown)
        seconds = response.headers.get("Retry-After", "")
        raise Broken(shown, min(float(seconds), _MAX_RETRY_AFTER) if re.fullmatch("[0-9]{1,20}", seconds) else 0)


class _Adapter(HTTPAdapter):
    """Transport adapter that checks and sends each request, including every hop of a redirect."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> Any:
        # Trust the system's certificates in addition to certifi's.
        return super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=ssl.create_default_context(), **options)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        _require_safe(str(request.url), self._policy)
        request.headers.pop("Authorization", None)  # requests adds passwords from .netrc, also for redirects
        # A socket's timeout restarts with each byte, so a server could send headers forever; bound the total instead.
        threads = Threads(1, "segtrain-download")
        try:
            future = threads.submit(lambda: HTTPAdapter.send(self, request, *args, **options))
            response = future.result(2 * self._policy.timeout)
        except TimeoutError:
            raise requests.Timeout from None
        finally:
            threads.close(seconds=0)
        if response.is_redirect:
            response.close()  # requests would read a redirect's body, which may be endless
        return response


def _is_page(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"


def _require_safe(url: str, policy: RetryPolicy) -> None:
    parts = urlsplit(url)
    if not (parts.scheme == "https" and parts.hostname or parts.hostname in policy.plain_hosts):
        raise Refused(f"leads to {printable(url)[:80]}, expected https://")


def _classify(failure: requests.RequestException) -> Exception:
    if isinstance(failure, requests.Timeout):
        return Broken("timed out waiting for a response")
    error = _root(failure)
    if isinstance(error, socket.gaierror):
        return Refused("host not found, or no network connection", found=False)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(f"invalid certificate: {printable(error.verify_message)}", found=False)
    strerror = error.strerror if isinstance(error, OSError) else None
    return Broken(printable(strerror or f"invalid response ({type(error).__name__}: {error})"))


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: requests wraps the errors of urllib3, which wrap those of the system."""
    causes = (getattr(error, "reason", None), error.__cause__, *error.args, error.__context__)
    cause = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    return error if cause is None else _root(cause)

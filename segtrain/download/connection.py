"""Addresses of HTTPS opened, redirects followed to such only, and pages in the place of files told from files."""

import contextlib
import http.client
import http.cookiejar
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from segtrain import __version__
from segtrain.download.confirm import CONFIRMING_HOSTS, PAGE_LENGTH, confirmed_address, page_title, printable

CHUNK = 2**18
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_REQUESTED_PAUSE = 60


class Refused(Exception):
    """This address will not do, however often it is asked.

    Attributes:
        found: Whether anything was found there at all.
    """

    def __init__(self, reason: str, found: bool = True) -> None:
        super().__init__(reason)
        self.found = found


class Broken(Exception):
    """The connection broke, or the server has asked for patience: worth another try.

    Attributes:
        pause: Seconds that the server has asked for.
    """

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Patience:
    """How long to wait for what.

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


def next_bytes(response: http.client.HTTPResponse, length: int) -> bytes:
    """What has come by now, at least one byte; nothing at the end."""
    try:
        return response.read1(CHUNK)
    except TimeoutError:
        raise Broken(f"stalled after {length:,} bytes") from None
    except (http.client.HTTPException, OSError, ValueError) as error:  # a ValueError is a chunk without a length
        raise Broken(f"the connection broke after {length:,} bytes ({type(error).__name__})") from None


class Opener:
    """Opens addresses of HTTPS, follows redirects to such, and answers a page that asks to confirm."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._director = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(),
            _Https(),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.UnknownHandler(),
            _Redirects(patience),
        ):
            self._director.add_handler(handler)

    def open(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        response = self._ask(url, headers)
        if response.headers.get_content_type() != "text/html":
            return response
        with response:
            page = self._read_page(response)
        address = confirmed_address(page, url) if urlsplit(url).hostname in CONFIRMING_HOSTS else None
        if address is None:
            raise Refused(f"a page instead of an archive: {page_title(page)}")
        response = self._ask(address, headers)
        if response.headers.get_content_type() == "text/html":
            response.close()
            raise Refused("one page after the other instead of an archive")
        return response

    def _read_page(self, response: http.client.HTTPResponse) -> str:
        page, latest = b"", time.monotonic() + self._patience.timeout
        while len(page) < PAGE_LENGTH and time.monotonic() < latest and (data := next_bytes(response, len(page))):
            page += data
        return page.decode("utf-8", "replace")

    def _ask(self, url: str, headers: Mapping[str, str]) -> Any:
        _require_safe(url, self._patience)
        # Another encoding would change the lengths, and with them what a range means.
        common = {"User-Agent": f"segtrain/{__version__}", "Accept-Encoding": "identity"}
        request = urllib.request.Request(url, headers={**common, **headers})
        try:
            return self._director.open(request, timeout=self._patience.timeout)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
                return error
            error.close()
            raise _of_status(error) from None
        except urllib.error.URLError as error:
            raise _of_reason(error.reason) from None
        except TimeoutError:
            raise Broken("no answer in time") from None
        except (http.client.HTTPException, ConnectionError) as error:
            raise Broken(f"no sound answer ({type(error).__name__})") from None
        except ValueError as error:  # a redirect to what is no address at all
            raise Refused(printable(str(error))) from None


def _of_status(error: urllib.error.HTTPError) -> Exception:
    said = f"{error.code} {printable((str(error.reason) or '?').splitlines()[0])}"
    if error.code not in _WORTH_ANOTHER_TRY:
        return Refused(said)
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return Broken(said, min(float(asked), _LONGEST_REQUESTED_PAUSE) if asked.isdecimal() else 0)


def _of_reason(reason: Any) -> Exception:
    if isinstance(reason, socket.gaierror):
        return Refused("no such host, or no network", found=False)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Refused(f"its certificate does not hold: {printable(reason.verify_message)}", found=False)
    if isinstance(reason, TimeoutError):
        return Broken("no answer in time")
    said = reason.strerror or type(reason).__name__ if isinstance(reason, OSError) else reason
    return Broken(printable(str(said)))


class _Hurried:
    """A connection whose status and headers must come within twice its timeout.

    The timeout of a socket begins anew with each byte; a server that sends one now and then would hold us for ever.
    """

    sock: Any
    timeout: Any
    _late = False

    def getresponse(self) -> http.client.HTTPResponse:
        limit = threading.Timer(2 * self.timeout, self._cut)
        limit.daemon = True
        limit.start()
        try:
            response = super().getresponse()  # type: ignore[misc]
        finally:
            limit.cancel()
        if self._late:  # what came until then reads as a short answer
            response.close()
            raise TimeoutError
        return response

    def _cut(self) -> None:
        self._late = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class _HurriedHttp(_Hurried, http.client.HTTPConnection):
    pass


class _HurriedHttps(_Hurried, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HurriedHttp, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HurriedHttps, req, context=ssl.create_default_context())


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 8

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_safe(newurl, self._patience)
        fp.close()  # urllib would read the body of the redirect to its end, and it may have none
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str, patience: Patience) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or parts.hostname not in patience.plain_hosts:
        raise Refused(f"leads to {printable(url)[:80]}, expected https://")

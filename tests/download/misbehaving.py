"""A server on this machine that does to a download whatever servers do."""

import contextlib
import http.server
import ssl
import threading
import time

BODY_ETAG = '"first"'


class Request:
    """One request: what was asked, and ways to answer it."""

    def __init__(self, handler):
        self._handler = handler
        self.path = handler.path
        self.headers = handler.headers

    @property
    def start(self):
        """Where the asked range begins, None where none was asked."""
        asked = self.headers.get("Range")
        return None if asked is None else int(asked.removeprefix("bytes=").removesuffix("-"))

    def head(self, status, **headers):
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), str(value))
        self._handler.end_headers()

    def send(self, data, pause=0.0, size=2**30):
        for start in range(0, len(data), size):
            self._handler.wfile.write(data[start : start + size])
            self._handler.wfile.flush()
            time.sleep(pause)

    def whole(self, data, **headers):
        self.head(200, **({"Content_Length": len(data)} | headers))
        self.send(data)

    def ranged(self, data, upto=None, etag=BODY_ETAG):
        """Answer as a good server does, but stop in the middle where `upto` bytes of the file are sent."""
        start = self.start
        if start is None or self.headers.get("If-Range", etag) != etag:
            self.head(200, Content_Length=len(data), ETag=etag, Accept_Ranges="bytes")
            start = 0
        elif start >= len(data):
            self.head(416, Content_Range=f"bytes */{len(data)}")
            return
        else:
            total = len(data)
            self.head(206, Content_Length=total - start, Content_Range=f"bytes {start}-{total - 1}/{total}", ETag=etag)
        self.send(data[start:upto])


class Server:
    """Answers its first requests by `script`, one each, and all further ones by the last of them.

    Attributes:
        requests: What was asked, in order.
    """

    def __init__(self, *script, certificate=None):
        self.script = script
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                request = Request(self)
                outer.requests.append(request)
                answer = outer.script[min(len(outer.requests), len(outer.script)) - 1]
                with contextlib.suppress(ConnectionError):
                    answer(request)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def url(self, path="archive.tar"):
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/{path}"

    @property
    def starts(self):
        """Where each request wanted to begin."""
        return [request.start for request in self.requests]

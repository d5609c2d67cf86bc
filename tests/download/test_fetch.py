"""Fetching from servers that do what servers do; all of them are on this machine."""

import hashlib
import random
import shutil
import subprocess
import time
import types

import pytest

from download.hostile import entry, tar
from download.misbehaving import BODY_ETAG, Server
from segtrain.download import confirm, fetch, transfer
from segtrain.download.connection import RetryPolicy
from segtrain.download.sources import Archive
from segtrain.errors import DataError, ResourceError
from segtrain.process.threads import left_running

BODY = tar(entry(b"a.png", random.Random(3).randbytes(2_000_000)))
SIZE = len(BODY)
OTHER = tar(entry(b"a.png", random.Random(4).randbytes(2_000_000)))
SHA256 = hashlib.sha256(BODY).hexdigest()
POLICY = RetryPolicy(timeout=2, attempts=3, pause=0.01, plain_hosts=frozenset({"127.0.0.1"}))
HASTY = RetryPolicy(timeout=0.2, attempts=2, pause=0.01, plain_hosts=frozenset({"127.0.0.1"}))
PAGE = b"<!DOCTYPE html><html><title>Please\x1b[31m log in</title><body>" + b"x" * 5000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def part(tmp_path):
    return tmp_path / "archive.tar.part"


def archive(*servers, known=True, **more):
    urls = tuple(server if isinstance(server, str) else server.url() for server in servers)
    sums = {"size": SIZE, "sha256": SHA256} if known else {}
    return Archive("archive.tar", ("a.png",), urls, **(sums | more))


def get(wanted, part, policy=POLICY):
    return fetch.fetch(wanted, part, policy)


def refused(error, wanted, part, policy=POLICY):
    with pytest.raises(error) as raised:
        get(wanted, part, policy)
    said = str(raised.value)
    assert said.isprintable()
    assert "Fix:" in said
    return said


def good(request):
    request.ranged(BODY)


def status(code, **headers):
    def answer(request):
        request.head(code, Content_Length=0, **headers)

    return answer


def cut(upto):
    return lambda request: request.ranged(BODY, upto)


# Whole files


def test_a_good_server_is_asked_once(part):
    with Server(good) as server:
        url, sums = get(archive(server), part)
    assert part.read_bytes() == BODY
    assert (url, sums.size, sums.sha256) == (server.url(), SIZE, SHA256)
    assert server.starts == [None]
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_sums_nobody_published_are_taken_from_the_file(part):
    with Server(good) as server:
        assert get(archive(server, known=False), part)[1].sha256 == SHA256


def test_md5_is_held_to_as_well(part):
    with Server(good) as server:
        assert get(archive(server, md5=hashlib.md5(BODY).hexdigest()), part)[1].sha256 == SHA256
        part.unlink()
        assert "MD5" in refused(DataError, archive(server, md5="0" * 32), part)


def test_chunks_without_a_length_will_do(part):
    def chunked(request):
        request._handler.protocol_version = "HTTP/1.1"
        request.head(200, Transfer_Encoding="chunked", Connection="close")
        for start in range(0, SIZE, 100_000):
            piece = BODY[start : start + 100_000]
            request.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.send(b"0\r\n\r\n")

    with Server(chunked) as server:
        get(archive(server), part)
    assert part.read_bytes() == BODY


# Cut connections


def test_cuts_at_any_byte_are_gone_on_from(part):
    places = sorted(random.Random(5).sample(range(1, SIZE), 12))
    with Server(*map(cut, places), good) as server:
        get(archive(server), part)
    assert part.read_bytes() == BODY
    assert server.starts == [None, *places]
    assert {request.headers["If-Range"] for request in server.requests[1:]} == {BODY_ETAG}


def test_another_command_goes_on_where_the_first_was_cut(part):
    with Server(cut(1000), cut(1000), cut(1000), cut(1000), cut(1000), good) as server:
        said = refused(ResourceError, archive(server), part)
        assert "after 1,000 bytes" in said.partition("Fix: ")[2]
        get(archive(server), part)
    assert part.read_bytes() == BODY
    assert server.starts[-1] == 1000


def test_tries_that_bring_something_do_not_count(part):
    places = range(200_000, SIZE, 200_000)
    with Server(*map(cut, places), good) as server:
        get(archive(server), part, RetryPolicy(attempts=1, pause=0.01, plain_hosts=POLICY.plain_hosts))
    assert server.starts == [None, *places]


def test_a_server_without_ranges_sends_all_again(part):
    def whole(request):
        request.whole(BODY)

    with Server(cut(200_000), whole) as server:
        get(archive(server), part)
    assert part.read_bytes() == BODY
    assert server.starts == [None, 200_000]


def test_a_file_that_changed_meanwhile_comes_anew(part):
    def changed(request):
        request.ranged(OTHER, etag='"second"')

    with Server(cut(200_000), changed) as server:
        sums = get(archive(server, known=False), part)[1]
    assert part.read_bytes() == OTHER
    assert sums.sha256 == hashlib.sha256(OTHER).hexdigest()


def test_without_etag_and_sums_nothing_is_pieced_together(part):
    def nameless(upto):
        def answer(request):
            request.head(200, Content_Length=SIZE)
            request.send(BODY[:upto])

        return answer

    with Server(nameless(200_000), nameless(None)) as server:
        get(archive(server, known=False), part)
    assert part.read_bytes() == BODY
    assert server.starts == [None, None]


def test_a_weak_etag_names_no_bytes(part):
    def weak(upto):
        def answer(request):
            request.head(200, Content_Length=SIZE, ETag='W/"a"')
            request.send(BODY[:upto])

        return answer

    with Server(weak(200_000), weak(None)) as server:
        get(archive(server, known=False), part)
    assert server.starts == [None, None]


def test_pieces_of_two_files_that_do_not_fit_come_once_more_in_one(part):
    def wrong_start(request):
        request.head(200, Content_Length=SIZE)
        request.send(OTHER[:200_000])

    def nameless(request):  # goes on with the right file, whatever came before
        total = SIZE
        start = request.start or 0
        status = 206 if request.start else 200
        request.head(status, Content_Length=total - start, Content_Range=f"bytes {start}-{total - 1}/{total}")
        request.send(BODY[start:])

    with Server(wrong_start, nameless) as server:
        get(archive(server), part)
    assert part.read_bytes() == BODY
    assert server.starts == [None, 200_000, None]
    assert part.with_name("archive.tar.rejected").stat().st_size == SIZE


def test_a_part_from_one_mirror_is_gone_on_from_at_another(part):
    with Server(cut(200_000), status(404)) as first, Server(good) as second:
        get(archive(first, second), part)
    assert part.read_bytes() == BODY
    assert second.starts == [200_000]


def test_without_sums_what_has_come_is_not_given_up_for_another_mirror(part):
    with Server(good) as first, Server(cut(200_000), cut(200_000), cut(200_000), cut(200_000), good) as second:
        wanted = archive("https://nowhere.invalid/a", second, first, known=False)
        assert "after 200,000 bytes" in refused(ResourceError, wanted, part)
        assert first.starts == []
        get(archive(first, second, known=False), part)
    assert part.read_bytes() == BODY
    assert first.starts == []
    assert second.starts[-1] == 200_000


def test_a_whole_part_is_not_fetched_again(part):
    with Server(good) as server:
        get(archive(server), part)
        get(archive(server), part)
        assert server.starts == [None]
        part.unlink()
        get(archive(server, known=False), part)
        get(archive(server, known=False), part)
    assert server.starts[1:] == [None, SIZE]  # the server says that there is no more
    assert part.read_bytes() == BODY


def test_a_part_that_is_too_long_is_begun_anew(part):
    part.write_bytes(BODY + b"more")
    with Server(good) as server:
        get(archive(server), part)
    assert server.starts == [None]
    assert part.read_bytes() == BODY


def test_a_range_other_than_asked_for_is_refused(part):
    def elsewhere(request):
        request.head(206, Content_Length=10, Content_Range=f"bytes 0-9/{SIZE}")
        request.send(BODY[:10])

    with Server(cut(200_000), elsewhere) as server:
        assert "'0', expected one from 200000" in refused(DataError, archive(server), part)


# What is no archive, or another


def test_a_wrong_sum_is_set_aside_and_the_next_mirror_asked(part):
    with Server(lambda request: request.whole(OTHER)) as bad, Server(good) as server:
        get(archive(bad, server), part)
        assert part.read_bytes() == BODY
        part.unlink()
        said = refused(DataError, archive(bad), part)
    assert f"SHA-256 {hashlib.sha256(OTHER).hexdigest()[:16]}" in said
    assert not part.exists()
    assert part.with_name("archive.tar.rejected").read_bytes() == OTHER


def test_a_wrong_length_is_refused_before_a_byte_of_it_is_read(part):
    with Server(lambda request: request.whole(BODY[:-512])) as server:
        assert f"{SIZE - 512:,} bytes, expected {SIZE:,}" in refused(DataError, archive(server), part)
    assert not part.exists()


def test_a_length_that_is_stated_too_short_is_told(part):
    def lies(request):
        request.head(200, Content_Length=SIZE)
        request.send(BODY[:1000])

    with Server(lies) as server:
        said = refused(ResourceError, archive(server), part)
    assert f"broke after 1,000 of {SIZE:,} bytes (ProtocolError), 3 times" in said
    assert len(server.requests) == 3


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/x-tar"])
def test_a_page_is_no_archive(kind, part):
    with Server(lambda request: request.whole(PAGE, Content_Type=kind)) as server:
        said = refused(DataError, archive(server, known=False), part)
    assert "a page instead of an archive" in said
    assert not part.exists()


def test_bytes_of_no_archive_are_refused_at_once(part):
    with Server(lambda request: request.whole(b"GIF89a" + bytes(10**6))) as server:
        assert "no archive: begins b'GIF89a" in refused(DataError, archive(server, known=False), part)


@pytest.mark.parametrize("more", [{}, {"known": False, "max_bytes": SIZE + 1000}])
def test_a_body_without_end_is_given_up(more, part):
    sent = []

    def endless(request):
        request.head(200)
        request.send(BODY)
        for _ in range(10_000):
            request.send(bytes(2**16))
            sent.append(1)

    with Server(endless) as server:
        limit = SIZE + 1000 if more else SIZE
        assert f"more than {limit:,} bytes" in refused(DataError, archive(server, **more), part)
    assert not part.exists()
    assert len(sent) < 1000


def test_a_stated_length_beyond_the_bound_is_refused(part):
    with Server(lambda request: request.head(200, Content_Length=10**12)) as server:
        said = refused(DataError, archive(server, known=False, max_bytes=10**9), part)
    assert "expected at most 1,000,000,000" in said


# Stalls


def test_a_server_that_falls_silent_is_left_and_gone_on_with(part):
    def silent(request):
        request.ranged(BODY, 200_000)
        request._handler.rfile.read(1)

    with Server(silent, good) as server:
        get(archive(server), part, HASTY)
    assert part.read_bytes() == BODY
    assert server.starts == [None, 200_000]


def test_a_server_that_drips_counts_as_stalled(part):
    def drips(request):
        request.head(200, Content_Length=SIZE)
        request.send(BODY[:1000], pause=0.02, size=1)

    with Server(drips) as server:
        assert "stalled after" in refused(ResourceError, archive(server), part, HASTY)


def test_a_server_that_never_answers_is_told(part):
    with Server(lambda request: request._handler.rfile.read(1)) as server:
        assert "timed out waiting for a response, 2 times" in refused(ResourceError, archive(server), part, HASTY)


def test_headers_that_drip_end_as_well(part):
    def drips(request):  # 17 + 6 * 18 bytes at 50 a second: 2.5 seconds, and 0.4 are allowed
        request.send(b"HTTP/1.0 200 OK\r\n" + b"X-More: and more\r\n" * 6, pause=0.02, size=1)

    began = time.monotonic()
    with Server(drips) as server:
        assert "timed out waiting for a response, 2 times" in refused(ResourceError, archive(server), part, HASTY)
        assert time.monotonic() - began < 2
        while left_running():  # the threads that wait for headers end with their connections
            time.sleep(0.05)


def test_a_page_that_drips_does_not_hold_up_either(part):
    def drips(request):
        request.head(200, Content_Type="text/html")
        request.send(PAGE, pause=0.02, size=1)

    with Server(drips) as server:
        assert "a page instead" in refused(DataError, archive(server), part, HASTY)


# Statuses and redirects


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_no_is_final_and_the_next_mirror_is_asked(code, part):
    with Server(status(code)) as first, Server(good) as second:
        get(archive(first, second), part)
    assert len(first.requests) == 1
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(code, part):
    with Server(status(code), status(code), good) as server:
        get(archive(server), part)
    assert len(server.requests) == 3
    assert part.read_bytes() == BODY


def test_a_server_may_ask_for_patience(part, monkeypatch):
    slept = []
    monkeypatch.setattr(fetch, "time", types.SimpleNamespace(sleep=slept.append))
    with Server(status(429, Retry_After=7), status(503, Retry_After=10**9), good) as server:
        get(archive(server), part)
    assert slept == [7, 60]


def test_pauses_double(part, monkeypatch):
    slept = []
    monkeypatch.setattr(fetch, "time", types.SimpleNamespace(sleep=slept.append))
    with Server(status(500)) as server:
        assert "500 Internal Server Error, 5 times" in refused(
            ResourceError, archive(server), part, RetryPolicy(attempts=5, plain_hosts=POLICY.plain_hosts)
        )
    assert slept == [1, 2, 4, 8]


def test_every_mirror_is_named_when_none_has_it(part):
    with Server(status(404)) as first, Server(lambda request: request.whole(PAGE, Content_Type="text/html")) as second:
        said = refused(DataError, archive(first, second), part)
    assert "404 Not Found; 127.0.0.1: a page instead of an archive: Please\\x1b[31m log in" in said


def test_redirects_are_followed(part):
    with Server(good) as server, Server(lambda request: request.head(302, Location=server.url())) as first:
        get(archive(first), part)
    assert part.read_bytes() == BODY


def test_cookies_of_a_redirect_are_sent_and_passwords_of_netrc_are_not(part, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Server(good) as server:
        with Server(lambda request: request.head(302, Location=server.url(), Set_Cookie="a=b")) as first:
            get(archive(first), part)
        assert server.requests[0].headers["Cookie"] == "a=b"
        assert not any("Authorization" in request.headers for request in first.requests + server.requests)


def test_proxies_of_the_environment_are_used(part, monkeypatch):
    monkeypatch.delenv("no_proxy")
    with Server(good) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("https_proxy", proxy.url(""))
        get(archive("http://127.0.0.1:9/archive.tar"), part)
        assert [request.path for request in proxy.requests] == ["http://127.0.0.1:9/archive.tar"]
        part.unlink()
        # This proxy knows no CONNECT.
        assert "501" in refused(ResourceError, archive("https://nowhere.invalid/archive.tar"), part)


def test_a_circle_of_redirects_ends(part):
    with Server(lambda request: request.head(302, Location=request.path)) as server:
        assert "Exceeded 8 redirects" in refused(DataError, archive(server), part)
    assert len(server.requests) < 12


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://localhost/a", "gopher:x", "//[", ""]
)
def test_redirects_to_what_is_not_https_are_refused(target, part):
    with Server(lambda request: request.head(302, Location=target)) as server:
        refused(DataError, archive(server), part)
    assert not part.exists()


def test_a_redirect_with_a_body_without_end_is_followed_all_the_same(part):
    def endless(request):
        request.head(302, Location=server.url())
        for _ in range(10_000):
            request.send(bytes(2**16))

    with Server(good) as server, Server(endless) as first:
        get(archive(first), part)
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("url", ["http://127.0.0.1/a", "file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a"])
def test_only_https_is_opened_when_no_test_has_said_otherwise(url, part):
    assert "expected https://" in refused(DataError, archive(url), part, RetryPolicy())


@pytest.fixture
def certificate(tmp_path):
    """A certificate of this machine's own for 127.0.0.1, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *made, *names, "-keyout", key, "-out", own], check=True, capture_output=True)
    return own, key


def test_https_is_spoken_and_its_certificates_are_checked(part, certificate, monkeypatch):
    with Server(cut(200_000), good, certificate=certificate) as server:
        said = refused(ResourceError, archive(server), part, RetryPolicy(attempts=1))
        assert "certificate" in said
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        get(archive(server), part, RetryPolicy(attempts=2, pause=0.01))
    assert part.read_bytes() == BODY
    assert server.starts == [None, 200_000]


def test_without_a_net_it_says_so_at_once(part):
    said = refused(ResourceError, archive("https://nowhere.invalid/a"), part)
    assert "nowhere.invalid: host not found" in said


def test_a_refused_connection_is_tried_again_and_told(part):
    with Server(good) as server:
        url = server.url()
    assert "Connection refused, 3 times" in refused(ResourceError, archive(url), part)


# Google Drive


def drive_page(action, title="Google Drive - Virus scan warning"):
    return f"""<!DOCTYPE html><html><head><title>{title}</title></head><body><form id="other" action="/no">
        <input name="q" value="x"></form><form id="download-form" action="{action}" method="get">
        <input type="submit" value="Download anyway"/><input type="hidden" name="id" value="F&amp;1">
        <input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="12-ab"></form>
        <input name="late" value="x"></body></html>""".encode()


def test_the_page_that_asks_to_confirm_is_confirmed(part, monkeypatch):
    monkeypatch.setattr("segtrain.download.connection.CONFIRMING_HOSTS", {"127.0.0.1"})
    monkeypatch.setattr(confirm, "CONFIRMING_HOSTS", {"127.0.0.1"})

    def drive(request):
        if "confirm=t" in request.path:
            request.ranged(BODY, 200_000 if request.start is None else None)
        else:
            request.whole(drive_page("/download?at=0"), Content_Type="text/html; charset=utf-8")

    with Server(drive) as server:
        get(archive(server), part)
    assert part.read_bytes() == BODY
    asked = [(request.path, request.start) for request in server.requests]
    confirmed = "/download?id=F%261&confirm=t&uuid=12-ab"
    assert asked == [("/archive.tar", None), (confirmed, None), ("/archive.tar", 200_000), (confirmed, 200_000)]


@pytest.mark.parametrize("action", ["https://example.org/download", "file:///etc/passwd"])
def test_the_form_may_not_lead_elsewhere(action, part, monkeypatch):
    monkeypatch.setattr("segtrain.download.connection.CONFIRMING_HOSTS", {"127.0.0.1"})
    with Server(lambda request: request.whole(drive_page(action), Content_Type="text/html")) as server:
        assert "Google Drive - Virus scan warning" in refused(DataError, archive(server), part)
    assert len(server.requests) == 1


def test_a_quota_is_told_by_its_page(part, monkeypatch):
    monkeypatch.setattr("segtrain.download.connection.CONFIRMING_HOSTS", {"127.0.0.1"})
    page = b"<html><head><title>Google Drive - Quota exceeded</title></head></html>"
    with Server(lambda request: request.whole(page, Content_Type="text/html")) as server:
        assert "Google Drive - Quota exceeded" in refused(DataError, archive(server), part)


# Disk


def test_a_disk_that_is_too_small_is_told_before(part, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**8))
    with Server(good) as server:
        said = refused(ResourceError, archive(server), part)
    assert "0.10 GB free" in said
    assert not part.exists()


def test_ctrl_c_keeps_the_part(part):
    bar = types.SimpleNamespace(n=0, total=0, refresh=lambda: None)
    came = []

    def interrupt(count):
        came.append(count)
        if sum(came) > 100_000:
            raise KeyboardInterrupt

    bar.update = interrupt
    with Server(lambda request: request.ranged(BODY)) as server:
        with pytest.raises(KeyboardInterrupt):
            transfer.transfer(server.url(), part, archive(server), POLICY, bar)
        assert part.read_bytes() == BODY[: sum(came)]
        get(archive(server), part)
    assert server.starts == [None, sum(came)] if sum(came) < SIZE else [None]

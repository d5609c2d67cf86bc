"""Archives drawn byte by byte for the tests, sound and hostile ones: tarfile would not write some of them."""

import bz2
import gzip
import io
import lzma
import zipfile


def header(name: bytes, size: int = 0, kind: bytes = b"0", *, mode: bytes = b"0000644", link: bytes = b"", prefix=b""):
    """One 512-byte header of ustar with the right sum."""
    block = bytearray(512)
    block[0:100] = name[:100].ljust(100, b"\0")
    block[100:107] = mode
    block[124:136] = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block[156:157] = kind
    block[157:257] = link[:100].ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[345:500] = prefix.ljust(155, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def entry(name: bytes, data: bytes = b"data", kind: bytes = b"0", **more) -> bytes:
    return header(name, len(data), kind, **more) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """One record of a pax header: its own length in front."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return entry(b"pax", b"".join(record(*each) for each in records), kind)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(1024)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, **attributes) -> bytes:
    """A zip whose entries all have these attributes of ZipInfo, such as external_attr."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return file.getvalue()


def encrypted() -> bytes:
    """A zip that says it is encrypted: bit 0 of the flags, in both headers."""
    data = bytearray(zipped(("a.png", b"data")))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def huge_directory() -> bytes:
    """A zip whose end states a central directory of 4 GB less two bytes."""
    data = bytearray(zipped(("a.png", b"data")))
    at = data.rindex(b"PK\5\6")
    data[at + 12 : at + 16] = (2**32 - 2).to_bytes(4, "little")
    return bytes(data)


def overlapping() -> bytes:
    """A zip with two names for the same data, each 20 MB of zeros unpacked."""
    data = zipped(("a", bytes(20_000_000)))
    at, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    entry_, tail = data[at:end], bytearray(data[end:])
    second = entry_[:46] + b"b"
    tail[8:12] = (2).to_bytes(2, "little") * 2
    tail[12:16] = (len(entry_) + len(second)).to_bytes(4, "little")
    return data[:end] + second + bytes(tail)


GOOD = tar(header(b"set/", kind=b"5"), entry(b"set/a.png", b"first"), entry(b"set/b.png", b"second"))
LONG = b"x" * 300
MIDDLE = len(GOOD) // 2

# Each must be refused; the key says what is wrong with it, the value is the file and words of the message.
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a name that leads upwards": (tar(entry(b"../up.png")), "leads out"),
    "a name that leads upwards later": (tar(entry(b"set/../../up.png")), "leads out"),
    "a name that leads up and back": (tar(entry(b"set/../set/a.png")), "leads out"),
    "a prefix that leads upwards": (tar(entry(b"up.png", prefix=b"..")), "leads out"),
    "an absolute name": (tar(entry(b"/tmp/segtrain-was-here")), "absolute"),
    "an absolute name by pax": (tar(pax((b"path", b"/tmp/segtrain-was-here")), entry(b"a")), "absolute"),
    "an upward name by GNU": (tar(entry(b"@LongLink", b"../" + LONG + b"\0", b"L"), entry(b"a")), "leads out"),
    "a drive": (tar(entry(b"C:up.png")), "absolute"),
    "backslashes": (tar(entry(b"..\\up.png")), "backslashes"),
    "a symbolic link": (tar(entry(b"link", b"", b"2", link=b"/tmp")), "symbolic link"),
    "a file through a link": (tar(entry(b"link", b"", b"2", link=b".."), entry(b"link/up.png")), "symbolic link"),
    "a hard link": (tar(entry(b"a"), entry(b"b", b"", b"1", link=b"/etc/passwd")), "hard link"),
    "a character device": (tar(entry(b"null", b"", b"3")), "character device"),
    "a block device": (tar(entry(b"disk", b"", b"4")), "block device"),
    "a named pipe": (tar(entry(b"pipe", b"", b"6")), "named pipe"),
    "a sparse file": (tar(entry(b"sparse", b"", b"S")), "sparse"),
    "a sparse file by pax": (tar(pax((b"GNU.sparse.major", b"1")), entry(b"a")), "sparse"),
    "an unknown type": (tar(entry(b"a", kind=b"Z")), "type b'Z'"),
    "the same file twice": (tar(entry(b"a"), entry(b"a")), "the same file"),
    "names that differ by case": (tar(entry(b"a.png"), entry(b"A.PNG")), "the same file"),
    "folders that differ by case": (tar(entry(b"set/a"), entry(b"SET/b")), "the same file"),
    "names that differ by encoding": (tar(entry("\u00e9".encode()), entry("e\u0301".encode())), "the same file"),
    "a file that becomes a folder": (tar(entry(b"a"), entry(b"a/b")), "the same file"),
    "a folder that becomes a file": (tar(entry(b"a/b"), entry(b"a")), "the same file"),
    "a terminal's escape": (tar(entry(b"a\x1b[2J")), "control characters"),
    "a line feed": (tar(entry(b"a\nb")), "control characters"),
    "a text turned round": (tar(entry("a\u202egnp.exe".encode())), "control characters"),
    "a name that is not UTF-8": (tar(entry(b"\xff\xfe")), "not UTF-8"),
    "a part of 300 letters": (tar(pax((b"path", LONG)), entry(b"a")), "too long"),
    "a name of 128 kB": (tar(entry(b"@", b"x" * 2**17, b"L"), entry(b"a")), "at most 16,384"),
    "40 folders deep": (tar(entry(b"a/" * 40 + b"b")), "in 41 folders"),
    "a file without a name": (tar(entry(b".")), "without a name"),
    "a pax header that lies of its length": (tar(entry(b"pax", b"99 path=a\n", b"x"), entry(b"a")), "damaged header"),
    "a pax header without an end": (tar(entry(b"pax", b"1 ", b"x"), entry(b"a")), "header"),
    "a size that is none": (tar(pax((b"size", b"-1")), entry(b"a")), "of -1 bytes"),
    "one name for all": (tar(pax((b"path", b"a"), kind=b"g"), entry(b"b")), "one name"),
    "headers only": (tar(*[pax((b"path", b"a"))] * 99, entry(b"b")), "at most 16,384"),
    "a negative size": (tar(header(b"a")[:124] + b"\xff" * 12 + header(b"a")[136:]), "header"),
    "a wrong sum": (tar(header(b"a").replace(b"0000644", b"0000755")), "bad checksum"),
    "a size beyond the end": (header(b"a", 10**9) + bytes(1024), "cut short"),
    "a size beyond all disks": (header(b"a", 2**50) + bytes(1024), "unpacks to more"),
    "a folder with data": (tar(entry(b"set/", b"data", b"5")), "folder with data"),
    "no members": (tar(), "neither"),
    "an empty file": (b"", "neither"),
    "a page": (b"<!DOCTYPE html><html>" + b" " * 600, "neither"),
    "a tar cut in a file": (GOOD[:MIDDLE], "cut short"),
    "a tar cut between files": (GOOD[:-1024], "cut short"),
    "two tars in one": (GOOD + GOOD, "has data after"),
    "two gzips in one": (gzip.compress(GOOD) * 2, "has data after"),
    "a gzip cut short": (gzip.compress(GOOD)[:-20], "cut short"),
    "a gzip with a wrong sum": (gzip.compress(GOOD)[:-8] + bytes(8), "cut short"),
    "a gzip of no tar": (gzip.compress(b"no tar" * 200), "header"),
    "a bzip2 cut short": (bz2.compress(GOOD)[:-20], "cut short"),
    "an xz cut short": (lzma.compress(GOOD)[:-20], "cut short"),
    "an xz that wants 1 GB": (
        lzma.compress(GOOD, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]),
        "damaged",
    ),
    "a gzip bomb": (gzip.compress(tar(entry(b"zeros", bytes(40_000_000)))), "times its own length"),
    "a bomb of headers": (gzip.compress(entry(b"a", b"") * 40_000), "the same file"),
    "zip: a name that leads upwards": (zipped(("../up.png", b"data")), "leads out"),
    "zip: an absolute name": (zipped(("/tmp/segtrain-was-here", b"data")), "absolute"),
    "zip: backslashes": (zipped(("..\\up.png", b"data")), "backslashes"),
    "zip: a symbolic link": (zipped(("link", b"/tmp"), external_attr=0o120777 << 16), "link or a device"),
    "zip: a device": (zipped(("null", b""), external_attr=0o020666 << 16), "link or a device"),
    "zip: encrypted": (encrypted(), "encrypted"),
    "zip: a method of its own": (zipped(("a", b"data" * 99), method=zipfile.ZIP_LZMA), "method"),
    "zip: names that differ by case": (zipped(("a", b"1"), ("A", b"2")), "the same file"),
    "zip: a bomb": (zipped(("zeros", bytes(40_000_000))), "times its own length"),
    "zip: two names for the same data": (overlapping(), "times its own length"),
    "zip: cut short": (zipped(("a", b"data" * 999))[:-30], "cut short"),
    "zip: a wrong sum": (zipped(("a", b"data"), method=0).replace(b"data", b"Data"), "CRC"),
    "zip: a directory of 4 GB": (huge_directory(), "directory of"),
}

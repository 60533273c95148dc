"""Contents and keys: made from seeds, so that a failure can be repeated."""

import hashlib
import random

KIB, MIB, GIB = 1024, 1024**2, 1024**3

# The sizes of the issue: empty, one byte, inline or small, several chunks, large.
SIZES = {"0B": 0, "1B": 1, "100KiB": 100 * KIB, "8MiB": 8 * MIB, "100MiB": 100 * MIB}


def content(size, seed=0):
    """`size` bytes that no compression and no shift leaves alike."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def md5(data):
    return hashlib.md5(data).hexdigest()


def etag(data):
    return f'"{md5(data)}"'


def multipart_etag(parts):
    digests = b"".join(hashlib.md5(p).digest() for p in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


class Stream:
    """A body of any size that is never in memory whole: repeats one block, numbered."""

    BLOCK = MIB

    def __init__(self, size, seed=0):
        self.size, self.position, self.seed = size, 0, seed
        self._index, self._block = None, b""

    def _at(self, index):
        if index != self._index:
            head = f"{self.seed}:{index:012d}|".encode()
            self._index, self._block = index, (head * (self.BLOCK // len(head) + 1))[: self.BLOCK]
        return self._block

    def read(self, count=-1):
        left = self.size - self.position
        count = left if count is None or count < 0 else min(count, left)
        out = []
        while count:
            offset = self.position % self.BLOCK
            piece = self._at(self.position // self.BLOCK)[offset : offset + count]
            out.append(piece)
            self.position += len(piece)
            count -= len(piece)
        return b"".join(out)

    def seek(self, offset, whence=0):
        base = {0: 0, 1: self.position, 2: self.size}[whence]
        self.position = base + offset
        return self.position

    def tell(self):
        return self.position

    def seekable(self):
        return True

    def readable(self):
        return True

    def __len__(self):
        return self.size


def stream_md5(size, seed=0):
    digest, body = hashlib.md5(), Stream(size, seed)
    while piece := body.read(MIB):
        digest.update(piece)
    return digest.hexdigest()


def odd_keys(count=200):
    """Keys that break whatever treats a key as a path, a URL or a line of text."""
    keys = [
        " ", "  ", " lead", "trail ", "a b", "a  b", "/", "//", "/lead", "trail/", "a//b", "a///b", ".", "..", "../..", "a/./b", "a/../b", "../../etc/passwd",
        "%", "%%", "%2F", "%2f", "%00", "%20", "%25", "a%b", "a%zz", "+", "a+b", "a + b", "a&b", "a=b", "a?b", "a?b=c&d", "a#b", "a;b", "a:b", "a@b", "a,b",
        "a$b", "a!b", "a*b", "a'b", 'a"b', "a(b)", "a[b]", "a{b}", "a|b", "a\\b", "a^b", "a`b", "a~b", "<a>", "a&amp;b", "&lt;", "<![CDATA[x]]>", "]]>",
        "\u00e9", "e\u0301", "\u00fcml\u00e4ut", "\u65e5\u672c\u8a9e", "\u0440\u0443\u0441", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "a/\U0001f600/b",
        "\u200b", "\u202eabc", "\ufeff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\u00a0", "\u2028", "\u0085",
        "\x01", "\x02a", "a\x1fb", "\x7f", "\t", "a\tb", "\n", "a\nb", "\r", "a\r\nb", "\x0b", "\x0c", "\x1b[31m",
        "x" * 1024, "\u00e9" * 512, "\U0001f600" * 256, "/" * 1024, "a/" * 512, "%" * 1024, "." * 1024, " " * 1024, "d/" + "y" * 1022,
        "null", "undefined", "-", "--", "-rf", "con", "nul", "aux", "index.html", "a.tmp", "~", "~root", ".hidden", "...", "a/..", "a/.", "./a",
        "A", "a", "AA", "aA", "Aa", "0", "00", "1e5", "true", "uploads", "uploadId", "versionId", "acl", "tagging", "delete", "\u0130", "\u0131", "\u1e9e", "\u00df", "ss",
    ]
    keys = [k for i, k in enumerate(keys) if k not in keys[:i]]
    rng = random.Random(200)
    alphabet = " /.%+&=?#\\'\"<>\u00e9\u0416\u65e5\U0001f600\x01\tabc~*()"
    while len(keys) < count:
        key = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 60)))
        if key not in keys:
            keys.append(key)
    return keys[:count] if len(keys) == count else keys

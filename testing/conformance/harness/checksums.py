"""The five upload checksums, spelled out, since the clients' own come from a library that may be missing."""

import base64
import hashlib
import zlib


def _table(polynomial, width):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    assert all(entry < 1 << width for entry in table)
    return table


_CRC32C = _table(0x82F63B78, 32)
_CRC64NVME = _table(0x9A6C9329AC4BC9B5, 64)


def _crc(table, width, data):
    crc = ones = (1 << width) - 1
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ ones


RAW = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: _crc(_CRC32C, 32, data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: _crc(_CRC64NVME, 64, data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}

ALGORITHMS = sorted(RAW)


def checksum(algorithm, data):
    """The checksum as S3 writes it."""
    return base64.b64encode(RAW[algorithm](data)).decode()


def composite(algorithm, parts):
    """The checksum of checksums of an upload in parts."""
    digests = b"".join(RAW[algorithm](part) for part in parts)
    return f"{checksum(algorithm, digests)}-{len(parts)}"


assert checksum("CRC32C", b"123456789") == base64.b64encode(0xE3069283.to_bytes(4, "big")).decode()
assert checksum("CRC64NVME", b"123456789") == base64.b64encode(0xAE8B14860A799888.to_bytes(8, "big")).decode()

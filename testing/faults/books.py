"""Holds the blobs that records name against the contents that the engines have.

Records are read without knowing them: whatever in one looks like a blob's identifier is one (docs/formats.md draws both).
"""

from collections import defaultdict

def blob_of(data):
    """Region and nonce of a blob with an identifier that names its home; none for other bytes."""
    if len(data) < 2 or data[0] != 4:
        return None
    length = data[1]
    region, inner = data[2 : 2 + length], data[2 + length :]
    if len(region) != length or len(inner) != 25 or inner[0] != 3:
        return None
    return region.decode("ascii", "replace"), inner[9:].hex()


class Books:
    """What the metadata names at one moment."""

    def __init__(self, store):
        self.store = store
        self.named, self.due, self.copies, self.coming = defaultdict(list), set(), {}, []
        for partition, key, head, body in self._rows():
            self._row(partition, key, head, body)

    def _rows(self):
        text = self.store.database.sql("SELECT p, encode(k, 'hex'), encode(head, 'hex'), encode(body, 'hex') FROM umbra_kv", "faults")
        for line in text.splitlines():
            partition, key, head, body = line.split("|")
            yield int(partition), bytes.fromhex(key), bytes.fromhex(head), bytes.fromhex(body)

    def _row(self, partition, key, head, body):
        if partition == 0 and key.startswith(b"C/"):
            length = key[2]
            blob, region = blob_of(key[3 : 3 + length]), key[3 + length :].decode()
            inner = [value for part in (head, body) for value in _strings(part) if len(value) == 25 and value[0] == 3]
            if inner:
                self.copies[blob, region] = inner[0][9:].hex()
            else:
                self.coming.append((blob, region))
        elif partition != 0 and key.startswith(b"g/"):
            self.due.add(blob_of(key[10:]))
        else:
            for part in (head, body):
                for value in _strings(part):
                    if blob := blob_of(value):
                        self.named[blob].append((partition, key))

    def kept(self):
        """What the engines have: nonces by region."""
        return {region: {key.rpartition("/")[2] for key in engine.keys(self.store.prefix[region])} for region, engine in self.store.engines.items()}


def _strings(record):
    """Every byte string in a record, however deep: behind the version, CBOR."""
    found, at = [], 1
    try:
        while at < len(record):
            at = _item(record, at, found)
    except (IndexError, ValueError):
        pass
    return found


def _item(data, at, found):
    """Reads one item, and says where it ends."""
    major, value, at = _head(data, at)
    if major in (2, 3):
        if major == 2:
            found.append(data[at : at + value])
        return at + value
    if major in (4, 5):
        for _ in range(value * (major - 3)):
            at = _item(data, at, found)
    elif major == 6:
        at = _item(data, at, found)
    return at


def _head(data, at):
    major, low = data[at] >> 5, data[at] & 31
    if low < 24:
        return major, low, at + 1
    if low > 27:
        raise ValueError("a length that is not told")
    width = 1 << (low - 24)
    return major, int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width


def judge(store):
    """What is wrong: names without contents, copies of nothing; and how many contents nothing names."""
    books = Books(store)
    kept = books.kept()
    wrong = [f"{key!r} of partition {partition} names {blob}, whose content is gone" for blob, rows in books.named.items() for partition, key in rows if blob[1] not in kept[blob[0]]]
    wrong += [f"the copy of {blob} in {region} has no content" for (blob, region), nonce in books.copies.items() if nonce not in kept[region]]
    wrong += [f"{blob} has a copy in {region}, and nothing names it" for blob, region in books.copies if blob not in books.named and blob not in books.due]
    wrong += [f"{blob} is to go, and {books.named[blob]} names it" for blob in books.due if blob in books.named]
    accounted = {(region, nonce) for region, nonce in books.named} | {(region, nonce) for region, nonce in (b for b in books.due if b)}
    accounted |= {(region, nonce) for (_, region), nonce in books.copies.items()}
    stray = [(region, nonce) for region, nonces in kept.items() for nonce in nonces if (region, nonce) not in accounted]
    return wrong, stray, books

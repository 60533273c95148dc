"""Holds the blobs that records name against the contents that the engines have.

Records are read without knowing them: whatever in one looks like a blob's identifier is one (docs/formats.md draws both). Those of copies are known.
"""

from collections import defaultdict

# What an identifier that names a region begins with; the second kind names bytes that are to be deleted.
HOME, LEFTOVER = 4, 5


def blob_of(data):
    """Region and nonce of a blob with an identifier that names its home; none for other bytes."""
    if len(data) < 2 or data[0] not in (HOME, LEFTOVER):
        return None
    length = data[1]
    region, inner = data[2 : 2 + length], data[2 + length :]
    if len(region) != length or not is_inner(inner):
        return None
    return region.decode("ascii", "replace"), nonce(inner)


def is_inner(data):
    """Whether an engine's own identifier is this: a 3, the length, the nonce."""
    return isinstance(data, bytes) and len(data) == 25 and data[0] == 3


def nonce(inner):
    return inner[9:].hex()


class Copy:
    """The row of a copy."""

    def __init__(self, body):
        _, fields = read(body)
        begun, blob, self.is_home = (fields + [None] * 3)[:3]
        self.nonce = nonce(blob) if is_inner(blob) else None


class Books:
    """What the metadata names at one moment."""

    def __init__(self, store):
        self.store = store
        # Rows by the blob they name; copies by blob and region; what is to go.
        self.named, self.copies, self.due, self.partitions = defaultdict(list), {}, set(), {}
        for partition, key, head, body in self._rows():
            if partition == 0 and key.startswith(b"C/"):
                length = key[2]
                self.copies[blob_of(key[3 : 3 + length]), key[3 + length :].decode()] = Copy(body)
            elif key.startswith(b"g/"):
                self.due.add(blob_of(key[10:]))
            elif partition == 0 and key.startswith(b"B/"):
                self.partitions[key[2:].decode()] = read(body)[1][0]
            elif partition != 0 and not key.startswith(b"c/"):
                for value in (*strings(head), *strings(body)):
                    if blob := blob_of(value):
                        self.named[blob].append((partition, key))

    def _rows(self):
        text = self.store.database.sql("SELECT p, encode(k, 'hex'), encode(head, 'hex'), encode(body, 'hex') FROM umbra_kv", "faults")
        for line in text.splitlines():
            partition, key, head, body = line.split("|")
            yield int(partition), bytes.fromhex(key), bytes.fromhex(head), bytes.fromhex(body)

    def kept(self):
        """What the engines have: nonces by region."""
        return {region: {key.rpartition("/")[2] for key in engine.keys(self.store.prefix[region])} for region, engine in self.store.engines.items()}

    def home(self, blob):
        """Where a blob is at home now, and what it is called there."""
        moved = [(region, copy.nonce) for (of, region), copy in self.copies.items() if of == blob and copy.is_home]
        return moved[0] if moved else blob

    def missing(self, bucket):
        """Of the objects of a bucket, those that are not in every region."""
        wrong = []
        for blob, rows in self.named.items():
            is_there = {self.home(blob)[0]} | {region for (of, region), copy in self.copies.items() if of == blob and copy.nonce}
            keys = [key for partition, key in rows if partition == self.partitions[bucket] and key.startswith(b"o/")]
            if keys and is_there != set(self.store.engines):
                wrong.append(f"{bucket}, {keys}: {blob} is in {is_there} alone")
        return wrong

    def accounted(self):
        """Every content that a row names, by region and nonce."""
        found = {(region, copy.nonce) for (_, region), copy in self.copies.items()}
        return found | {self.home(blob) for blob in self.named} | {blob for blob in self.due if blob}


def judge(store):
    """What is wrong; the contents that nothing names; and the books."""
    books = Books(store)
    kept = books.kept()
    wrong = []
    for blob, rows in books.named.items():
        region, name = books.home(blob)
        if name not in kept.get(region, ()):
            wrong.append(f"the content of {blob} is not in {region}, and {rows} name it")
        if blob in books.due:
            wrong.append(f"{blob} is to go, and {rows} name it")
    for (blob, region), copy in books.copies.items():
        if copy.nonce and copy.nonce not in kept[region] and blob in books.named:
            wrong.append(f"the copy of {blob} in {region} has no content")
        if blob not in books.named and blob not in books.due:
            wrong.append(f"{blob} has a copy in {region}, and nothing names it")
    accounted = books.accounted()
    stray = [(region, name) for region, names in kept.items() for name in names if (region, name) not in accounted]
    return wrong, stray, books


# -- CBOR, as much of it as records use ------------------------------------------------------------------------


def read(record):
    """A record's version and its fields; nothing for an empty one."""
    return (record[0], _item(record, 1)[0]) if record else (0, [])


def strings(record):
    """Every byte string in a record, however deep."""
    open_, found = [read(record)[1]], []
    while open_:
        value = open_.pop()
        if isinstance(value, bytes):
            found.append(value)
        elif isinstance(value, list):
            open_ += value
    return found


def _item(data, at):
    """One item, and where it ends. Maps are lists, tags are left out, text is nothing worth telling."""
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    value = low
    if 24 <= low <= 27:
        width = 1 << (low - 24)
        value = int.from_bytes(data[at : at + width], "big")
        at += width
    elif low > 27:
        raise ValueError(f"CBOR without a length at {at}")
    if major == 2:
        return data[at : at + value], at + value
    if major == 3:
        return None, at + value
    if major in (4, 5):
        items = []
        for _ in range(value * (major - 3)):
            item, at = _item(data, at)
            items.append(item)
        return items, at
    if major == 6:
        return _item(data, at)
    if major == 7:
        return {20: False, 21: True}.get(low), at
    return value if major == 0 else -1 - value, at

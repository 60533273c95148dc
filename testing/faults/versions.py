"""What is known of the versions of keys. The current one is the judges' business: of it only those are deleted that another has replaced for certain."""

import threading
import time
from collections import Counter, defaultdict


class Version:
    """One that was acknowledged; without an ETag it is a delete marker."""

    def __init__(self, name, tag, begun):
        self.name, self.tag, self.begun, self.ended = name, tag, begun, time.monotonic()
        self.deleting = self.deleted = None

    def __str__(self):
        return f"{self.name} of {self.tag}, written {self.begun:.3f}-{self.ended:.3f}, deleted {self.deleting}-{self.deleted}"


class Versions:
    """Those of all keys of the bucket that keeps them."""

    def __init__(self, traffic):
        self.traffic, self.lock = traffic, threading.Lock()
        self.known = defaultdict(dict)
        # How often what was tried for a key, and how many deletes.
        self.tried, self.deletes, self.vague = Counter(), Counter(), Counter()

    def attempt(self, key, tags):
        """A write is about to be tried; `tags` is empty where nobody can tell what it would put."""
        with self.lock:
            if tags == [None]:
                self.deletes[key] += 1
            elif tags:
                self.tried[key, tags[0]] += 1
            else:
                self.vague[key] += 1

    def add(self, key, answer, tag, begun):
        name = answer.headers.get("x-amz-version-id")
        if not name:
            self.traffic.wrong(f"versioned/{key}: a write without a version: {answer}")
            return
        with self.lock:
            if name in self.known[key]:
                self.traffic.wrong(f"versioned/{key}: version {name} was given twice")
            self.known[key][name] = Version(name, tag, begun)

    def some(self, rng, key):
        with self.lock:
            found = [v for v in self.known[key].values() if v.tag]
        return rng.choice(found) if found else None

    def replaced(self, rng, key):
        """One that is certainly not current, marked as being deleted; none when there is none, or few."""
        with self.lock:
            live = [v for v in self.known[key].values() if not v.deleting]
            latest = max((v.begun for v in live), default=0)
            found = [v for v in live if v.tag and v.ended < latest]
            if len(live) < 6 or not found:
                return None
            chosen = rng.choice(found)
            chosen.deleting = time.monotonic()
            return chosen

    def check(self, key, listed, begun):
        """Holds a whole listing of a key's versions, the newest first and asked for at `begun`, against what is known."""
        with self.lock:
            known = dict(self.known[key])
        names = [name for name, _, _ in listed]
        wrong = []
        if len(set(names)) != len(names):
            wrong.append("a version is listed twice")
        # Delete markers are told apart from versions, each newest first.
        groups = [[name for name, tag, _ in listed if (tag is None) == is_marker] for is_marker in (False, True)]
        latest = [name for name, _, is_latest in listed if is_latest]
        if len(latest) != bool(names) or not set(latest) <= {name for group in groups for name in group[:1]}:
            wrong.append("not one of the first, and it alone, is the latest")
        wrong += [f"{v} is missing" for v in known.values() if v.ended < begun and not v.deleting and v.name not in names]
        wrong += [f"{v} is listed" for v in known.values() if v.deleted and v.deleted < begun and v.name in names]
        wrong += [f"{known[name]} is listed as {tag}" for name, tag, _ in listed if name in known and known[name].tag != tag]
        for group in (*groups, *([latest[0], *group[:1]] for group in groups if latest)):
            wrong += self._order([known[name] for name in group if name in known])
        wrong += self._unknown(key, listed, known)
        for text in wrong:
            shown = "\n".join(f"    {entry} {known.get(entry[0], '')}" for entry in listed)
            self.traffic.wrong(f"versioned/{key}: {text}\n{shown}")

    @staticmethod
    def _order(shown):
        return [f"{older} is listed behind {newer}" for newer, older in zip(shown, shown[1:]) if newer.ended < older.begun]

    def _unknown(self, key, listed, known):
        """Versions of writes that were not answered: each at most once."""
        found = Counter(tag for _, tag, _ in listed)
        # Those that are gone have been there.
        found.update(v.tag for v in known.values() if v.deleted and v.name not in {name for name, _, _ in listed})
        with self.lock:
            markers = found.pop(None, 0) - self.deletes[key]
            extra = {tag: count - self.tried[key, tag] for tag, count in found.items()}
            slack = self.vague[key]
        wrong = [f"{markers} delete markers too many"] if markers > 0 else []
        wrong += [f"{tag} was written by nobody" for tag in extra if self.traffic.contents.of(tag) is None]
        over = sum(count for count in extra.values() if count > 0)
        return wrong + ([f"{over} versions too many"] if over > slack else [])

"""Judges one key: is there an order of its operations, each at one moment between its beginning and its end, that explains every answer?

A key is a register: it holds an ETag, or nothing. An operation needs something of it and may change it. One whose answer never came may have
happened at one moment, at most `LATE` after its client gave it up, or never.

All states that the key may be in are kept, each with the operations under way that have happened already on the way there. When an operation ends,
every way is tried on which it can have happened by then. If there is none, the answer was wrong. What nobody has seen of operations without an answer
is tried only where somebody under way sees it: without that it makes no difference.
"""

import threading
import time
from collections import deque

# What was given up has been decided by then: longer than any fault lasts, and than a node waits for another to lead.
LATE = 180
# More states than this are not searched: the key is judged anew from the next answer on.
CONFIGS_MAX = 20_000
KEEP = object()
STORY = 60
TRIED = 500
# Judging waits for so long, because some reads may be of a while ago: they are put where they may have been.
SLACK = 3
# How long a copy without an answer waits for others, to know what it may have copied.
COPIES = 50


class Op:
    """Something done to a key. `needs` is ("in" or "out", ETags), or nothing; `puts` what the key holds afterwards."""

    __slots__ = ("number", "what", "is_write", "region", "begun", "ended", "needs", "puts", "is_known", "expires", "told")

    def __init__(self, number, what, is_write, region):
        self.number, self.what, self.is_write, self.region, self.begun, self.ended = number, what, is_write, region, time.monotonic(), None
        self.needs, self.puts, self.is_known, self.expires, self.told = None, [KEEP], False, None, ""

    def allows(self, state):
        return self.needs is None or (state in self.needs[1]) == (self.needs[0] == "in")

    @property
    def writes(self):
        return self.puts[0] is not KEEP

    def __str__(self):
        ended = f"{self.ended:.3f}" if self.ended else "…"
        return f"[{self.begun:.3f} {ended}] {self.what} {self.told}"


class Judge:
    """The judge of one key; `holds` is what it holds at first."""

    def __init__(self, name, holds=None, on_wrong=None):
        self.name, self.on_wrong = name, on_wrong
        self.lock = threading.Lock()
        self.configs = {(holds, frozenset())}
        # By time: (when, begins or ends, what).
        self.events, self.underway = deque(), {}
        self.pending, self.doubtful = {}, {}
        self.count = self.resets = self.writing = 0
        self.story = deque(maxlen=STORY)
        # What somebody tried to write lately; what was seen last; when a write was last acknowledged in a region.
        self.tried, self.latest, self.acknowledged = deque([holds], maxlen=TRIED), holds, {}

    # -- what clients tell -------------------------------------------------------------------------------------

    def begin(self, what, tries=None, region=None, age=0):
        """Something is about to be asked of the key, in a region; a write says what it tries to put. A read may be `age` seconds old, but not older than
        what was acknowledged in its region."""
        with self.lock:
            self.count += 1
            op = Op(self.count, what, tries is not None, region)
            if tries is not None:
                self.writing += 1
                self.tried.extend(tries)
            self.underway[op.number] = op
            op.begun = max(op.begun - age, min(op.begun, self.acknowledged.get(region, 0)))
            at = len(self.events)
            while at and self.events[at - 1][0] > op.begun:
                at -= 1
            self.events.insert(at, (op.begun, True, op))
            self.story.append(op)
            return op

    def end(self, op, told, needs=None, puts=KEEP):
        """It was answered."""
        with self.lock:
            op.needs, op.puts, op.is_known, op.told = needs, [puts], True, told
            self._ended(op)
            if op.writes:
                self.acknowledged[op.region] = op.ended
                self.latest = puts
                self.tried.append(puts)
            elif needs and needs[0] == "in" and len(needs[1]) == 1:
                (self.latest,) = needs[1]

    def doubt(self, op, told, needs=None, puts=()):
        """It was not answered; it may have led to any of `puts`."""
        with self.lock:
            op.needs, op.puts, op.told = needs, list(puts) or [KEEP], f"{told}?"
            op.expires = time.monotonic() + LATE
            self.tried.extend(puts)
            self._ended(op)

    def forget(self, op):
        """It asked nothing that could be judged."""
        with self.lock:
            op.told = "-"
            op.is_known = True
            self._ended(op)

    def candidates(self):
        """What it may have held lately. Waits for copies under way, of which nobody can tell yet what they put."""
        with self.lock:
            copies = [op for op in self.underway.values() if op.is_write and op.what.startswith("COPY")]
        until = time.monotonic() + COPIES
        while any(op.ended is None for op in copies) and time.monotonic() < until:
            time.sleep(0.05)
        with self.lock:
            return {state for state, _ in self.configs} | set(self.tried)

    def settle(self):
        """Judges all there is; what the key may hold."""
        with self.lock:
            self._advance(0)
            return {state for state, _ in self.configs}

    def _ended(self, op):
        op.ended = time.monotonic()
        self.writing -= op.is_write
        del self.underway[op.number]
        self.events.append((op.ended, False, op))
        self._advance(SLACK)

    # -- the search --------------------------------------------------------------------------------------------

    def _advance(self, slack):
        """Looks at everything that began before what is still under way, and that nothing can be put before any more."""
        until = time.monotonic() - slack
        while self.events and self.events[0][0] <= until:
            when, begins, op = self.events[0]
            if op.number in self.underway:
                return
            self.events.popleft()
            self._expire(when)
            if begins:
                self._begun(op)
            elif op.is_known:
                self._returned(op)

    def _begun(self, op):
        if op.is_known:
            self.pending[op.number] = op
            self.configs = {self._saturate(*config) for config in self.configs}
        elif op.writes:
            self.doubtful[op.number] = op

    def _expire(self, now):
        late = {number for number, op in self.doubtful.items() if op.expires < now}
        if late:
            self._drop(late)

    def _drop(self, numbers):
        for number in numbers:
            del self.doubtful[number]
        self.configs = {(state, done - numbers) for state, done in self.configs}

    def _saturate(self, state, done):
        """What only looks, and sees this state, has happened here: it is never worse than later."""
        seen = [op.number for op in self.pending.values() if not op.writes and op.number not in done and op.allows(state)]
        return (state, done.union(seen) if seen else done)

    def _returned(self, op):
        open_, known, found = list(self.configs), set(self.configs), set()
        while open_:
            config = open_.pop()
            if op.number in config[1]:
                found.add((config[0], config[1] - {op.number}))
                continue
            for following in self._steps(*config):
                if following not in known:
                    known.add(following)
                    open_.append(following)
            if len(known) > CONFIGS_MAX:
                self._reset(op)
                return
        del self.pending[op.number]
        if not found:
            self._wrong(op)
            return
        self.configs = found
        happened = frozenset.intersection(*(done for _, done in found)) & self.doubtful.keys()
        if happened:
            self._drop(happened)

    def _steps(self, state, done):
        for op in self.pending.values():
            if op.writes and op.number not in done and op.allows(state):
                yield self._saturate(op.puts[0], done | {op.number})
        tried = set()
        for op in self.doubtful.values():
            if op.number in done or not op.allows(state):
                continue
            for value in op.puts:
                # Of those that lead to the same the first is as good as any.
                if value != state and value not in tried and self._is_seen(value, state, done):
                    tried.add(value)
                    yield self._saturate(value, done | {op.number})

    def _is_seen(self, value, state, done):
        return any(op.number not in done and op.needs and op.allows(value) and not op.allows(state) for op in self.pending.values())

    def _reset(self, op):
        """Begins anew with what this operation tells."""
        self.resets += 1
        self.pending.pop(op.number, None)
        states = [op.puts[0]] if op.writes else list(op.needs[1]) if op.needs and op.needs[0] == "in" else None
        if states is None:
            states = {state for state, _ in self.configs}
        self.configs = {self._saturate(state, frozenset()) for state in states}

    def _wrong(self, op):
        states = sorted(str(state) for state in {state for state, _ in self.configs})
        doubtful = "\n".join(f"    {other}" for other in self.doubtful.values())
        story = "\n".join(f"    {'>>' if other is op else '  '} {other}" for other in sorted(self.story, key=lambda o: o.begun))
        text = f"{self.name}: {op} cannot be\n  it held one of {states}\n  without an answer, and perhaps still to come:\n{doubtful}\n  history:\n{story}"
        self.on_wrong(text)
        self._reset(op)

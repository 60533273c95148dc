"""What befalls the store: one fault or two at a time, then everything heals, and has to serve."""

import random
import subprocess
import threading
import time
from collections import Counter
from contextlib import nullcontext, suppress

from harness.faults import Fault
from harness.wait import Timeout

from .links import CUT, PASS, SILENT
from .store import FAR, REGIONS

# A leader that was silent for longer is followed; see docs/decisions/0009.
LEASE = 20
SERVICE = 120


class Nemesis(threading.Thread):
    """Breaks things until told to stop; `faults` says what it did, and when."""

    def __init__(self, store, traffic, seed):
        super().__init__(daemon=True, name="nemesis")
        self.store, self.traffic, self.rng = store, traffic, random.Random(f"{seed}/nemesis")
        self.faults, self.counts, self.error = [], Counter(), None
        # Held by whoever has stopped the database: another would start it meanwhile.
        self.database = threading.Lock()
        self.kinds = [
            (self.kill, 5), (self.kill_leader, 3), (self.pause, 4), (self.freeze, 1), (self.crash_database, 2), (self.stop_database, 1),
            (self.cut_from_database, 4), (self.cut_from_engine, 4), (self.lose_engine, 2), (self.part_region, 3), (self.part_node, 2),
            (self.lose_origin, 2), (self.lose_answers_of_origin, 2),
        ]
        if store.standby:
            self.kinds += [(self.crash_standby, 2), (self.lag_standby, 2), (self.lose_standby, 2)]

    def run(self):
        try:
            while not self.traffic.stop.wait(self.rng.uniform(2, 6)):
                self._round()
        except BaseException as error:  # noqa: BLE001 - the run tells it
            self.error = error
            self.traffic.stop.set()

    def _round(self):
        kinds, weights = zip(*self.kinds, strict=True)
        count = self.rng.choices([1, 2], [3, 1])[0]
        chosen = []
        while len(chosen) < count:
            kind = self.rng.choices(kinds, weights)[0]
            if kind not in chosen:
                chosen.append(kind)
        begun, answered = time.monotonic(), self.traffic.answered
        told = []
        running = [threading.Thread(target=self._one, args=(kind, told), daemon=True) for kind in chosen]
        [thread.start() for thread in running]
        [thread.join() for thread in running]
        self.store.heal()
        try:
            self.store.await_service(SERVICE)
        except Timeout as timeout:
            self.traffic.wrong(f"{SERVICE} s after {told}: {timeout}")
        self.faults.append((begun, time.monotonic(), " and ".join(told)))
        print(f"{time.monotonic() - self.traffic.begun:7.1f}  {' and '.join(told)}: {self.traffic.answered - answered} answers meanwhile", flush=True)

    def _one(self, kind, told):
        try:
            what = kind()
        except Exception as error:  # noqa: BLE001 - the run tells it
            self.error = self.error or error
            self.traffic.stop.set()
            what = f"{kind.__name__} itself failed"
        self.counts[kind.__name__] += 1
        told.append(what)

    def hold(self, low, high):
        seconds = self.rng.uniform(low, high)
        time.sleep(seconds)
        return f"{seconds:.1f} s"

    # -- nodes -------------------------------------------------------------------------------------------------

    def kill(self, node=None):
        node = node or self.rng.choice(self.store.nodes)
        with node.lock:
            node.is_meant_to_run = False
            if node.is_running:
                node.server.process.kill()
        told = self.hold(0, 8)
        node.is_meant_to_run = True
        self.store.revive(node)
        return f"killed {node.name}, started after {told}"

    def kill_leader(self):
        """For long enough that another follows, or not."""
        return "leader: " + self.kill(self.store.leader())

    def pause(self):
        node = self.rng.choice(self.store.nodes)
        self._signal(node, "freeze")
        told = self.hold(0.5, 10)
        self._signal(node, "thaw")
        return f"paused {node.name} for {told}"

    def freeze(self):
        """For longer than the lease. A leader does not wake up: what it was about to send to the origin nothing could hold back."""
        leader = self.store.leader()
        node = self.rng.choice(self.store.nodes)
        self._signal(node, "freeze")
        told = self.hold(LEASE + 4, LEASE + 15)
        if node is leader or leader is None:
            with node.lock:
                node.server.process.kill()
            return f"froze {node.name} for {told}, and killed it"
        self._signal(node, "thaw")
        return f"froze {node.name} for {told}"

    @staticmethod
    def _signal(node, what):
        with node.lock:
            if node.is_running:
                getattr(node.server.process, what)()

    # -- the database ------------------------------------------------------------------------------------------

    def crash_database(self):
        with self.database, self.store.blind():
            self.store.database.stop("immediate")
            told = self.hold(0, 10)
            self.store.database.resume()
        return f"crashed the database, started after {told}"

    def stop_database(self):
        """For longer than a leader lives without it."""
        with self.database, self.store.blind():
            self.store.database.stop("fast")
            told = self.hold(16, 25)
            self.store.database.resume()
        return f"stopped the database for {told}"

    # -- the replica -------------------------------------------------------------------------------------------

    def crash_standby(self):
        self.store.standby.stop("immediate")
        told = self.hold(0, 10)
        self.store.standby.resume()
        return f"crashed the replica, started after {told}"

    def lag_standby(self):
        try:
            self.store.standby.pause()
        except subprocess.CalledProcessError:
            return "the replica, which was away, did not lag"
        told = self.hold(1, 15)
        # Should it be away by now, it begins without a pause.
        with suppress(subprocess.CalledProcessError):
            self.store.standby.unpause()
        return f"the replica shows nothing new for {told}"

    def lose_standby(self):
        return f"the replica away, {self._cut([f'{name}>standby' for name in REGIONS[FAR]], 1, 15)}"

    # -- links -------------------------------------------------------------------------------------------------

    def cut_from_database(self):
        node = self.rng.choice(self.store.nodes)
        return f"{node.name} without the database, {self._cut([f'{node.name}>database'], 1, 30)}"

    def cut_from_engine(self):
        node, region = self.rng.choice(self.store.nodes), self.rng.choice(list(REGIONS))
        return f"{node.name} without the contents of {region}, {self._cut([f'{node.name}>{region}'], 1, 20)}"

    def lose_engine(self):
        region = self.rng.choice(list(REGIONS))
        return f"the contents of {region} away, {self._cut([f'{node.name}>{region}' for node in self.store.nodes], 1, 15)}"

    def part_region(self):
        """The nodes of a region reach what is in their region alone, and those of the other one nothing there. The database is in neither."""
        region = self.rng.choice(list(REGIONS))
        inside = REGIONS[region]
        outside = [node.name for node in self.store.nodes if node.name not in inside]
        near = (region, "standby")
        far = [name for name in self.store.links.ports if name.partition(">")[0] in inside and name.partition(">")[2] not in near]
        far += [f">{name}" for name in inside] + [f"{name}>{region}" for name in outside]
        return f"{region} cut off, {self._cut(far, 3, 35)}"

    def part_node(self):
        node = self.rng.choice(self.store.nodes)
        return f"{node.name} not reached by other nodes, {self._cut([f'>{node.name}'], 2, 25)}"

    def _cut(self, names, low, high):
        how = self.rng.choice([CUT, SILENT])
        parts = self.store.blind() if any(name.endswith(">database") for name in names) else nullcontext()
        with parts:
            self.store.links.set(names, how)
            told = self.hold(low, high)
            self.store.links.set(names, PASS)
        return f"{how} for {told}"

    # -- the origin --------------------------------------------------------------------------------------------

    def lose_origin(self):
        self.store.proxy.stop()
        told = self.hold(1, 12)
        self.store.proxy.start()
        return f"the origin away for {told}"

    def lose_answers_of_origin(self):
        """It does what it is asked, and nobody is told."""
        fault = Fault(drop_answer=True) if self.rng.random() < 0.5 else Fault(status=503)
        rule = self.store.proxy.rule(fault, when=lambda exchange: exchange.bucket == "origin" and self.rng.random() < 0.3)
        told = self.hold(2, 10)
        with self.store.proxy.lock:
            self.store.proxy.rules.remove(rule)
        return f"{'answers of the origin lost' if fault.drop_answer else 'the origin throttles'} for {told}, {rule.hits} times"


class Supervisor(threading.Thread):
    """Starts nodes again that end by themselves, as whatever looks after them would."""

    def __init__(self, store, traffic):
        super().__init__(daemon=True, name="supervisor")
        self.store, self.traffic, self.ended = store, traffic, Counter()
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            for node in self.store.nodes:
                if node.is_meant_to_run and not node.is_running and not self.over.is_set():
                    with node.lock:
                        if node.is_running or not node.is_meant_to_run:
                            continue
                        status = node.server.process.child.returncode
                        if status != -9:
                            self.ended[node.name, status] += 1
                    self.store.revive(node)

"""Moving the rest, as a person runs it: `umbra storage migrate`, with SeaweedFS as the origin."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from harness.clients import refused
from harness.data import KIB, MIB, content
from harness.terminal import Terminal
from harness.threads import Background
from harness.wait import stays, until


def fill(pair, count, size=2 * KIB, prefix="k"):
    """Puts objects at the origin; what they hold, by key."""
    bodies = {f"{prefix}{n:04d}": content(size + n, n) for n in range(count)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: pair.put_there(*item), bodies.items()))
    return bodies


def migrate(pair, *flags, place=None, status=0, timeout=60):
    done = pair.umbra.storage("migrate", place or pair.name, *flags, "--json", check=False, timeout=timeout)
    assert done.status == status, repr(done)
    return done.json() if done.out else done


def all_here(pair, bodies):
    """Everything is readable while the origin is away."""
    pair.proxy.stop()
    for key, body in bodies.items():
        assert pair.read(key) == body, key


def test_everything_moves_once_and_the_gate_opens(pair):
    """Holds "*Backfill* is a durable job on the server" and "Progress: objects and bytes done, left, failed", and the way out: migrate, clear, done."""
    bodies = fill(pair, 300)
    bodies["large"] = content(12 * MIB, "large")
    pair.put_there("large", bodies["large"])
    pair.create()
    pair.put("k0000", b"ours")
    pair.delete("k0001")
    bodies["k0000"] = b"ours"
    del bodies["k0001"]
    refusal = pair.update("--clear-shadow", check=False)
    assert refusal.status == 1 and "299 objects are still only at the origin" in refusal.err, refusal
    done = migrate(pair, "--wait")
    moved = sum(len(body) for key, body in bodies.items() if key != "k0000")
    told = {name: done[name] for name in ("state", "objects_done", "bytes_done", "objects_left", "bytes_left", "objects_failed", "bytes_egress")}
    assert told == {
        "state": "done", "objects_done": 299, "bytes_done": moved, "objects_left": 0, "bytes_left": 0, "objects_failed": 0, "bytes_egress": moved,
    }
    assert pair.proxy.body_bytes() == moved, "each byte left the origin once"
    pair.update("--clear-shadow")
    all_here(pair, bodies)
    assert pair.keys() == sorted(bodies) and refused(pair.get, "k0001").status == 404


def test_by_prefix(pair):
    """Holds "by prefix"."""
    ours, others = fill(pair, 60, prefix="2024/"), fill(pair, 40, prefix="2025/")
    pair.create()
    done = migrate(pair, "--wait", place=f"{pair.name}/2024/")
    assert (done["objects_done"], done["objects_left"], done["settings"]["prefix"]) == (60, 0, "2024/")
    assert not any(pair.is_cold(key) for key in list(ours)[::10]) and all(pair.is_cold(key) for key in list(others)[::10])
    assert migrate(pair, "--wait")["objects_done"] == 40


def test_killed_in_the_middle(own_pair):
    """Holds "survives restarts": whoever waits sees it through a kill, and what had arrived is not read again."""
    pair = own_pair
    bodies = fill(pair, 250, size=20 * KIB)
    pair.create()
    waiting = Background(migrate, pair, "--wait", "--max-rps", "150")
    until("some to be here", lambda: pair.umbra.status(pair.name)["objects"] >= 60)
    pair.umbra.restart(kill=True)
    pair.connect()
    here = pair.umbra.status(pair.name)["objects"]
    assert here < 250, "it was killed in the middle"
    migrate(pair, "--resume", "--max-rps", "100000")
    done = waiting.result()
    assert (done["state"], done["objects_left"], done["objects_failed"]) == ("done", 0, 0)
    again = pair.proxy.body_bytes() - sum(map(len, bodies.values()))
    assert 0 <= again <= 17 * 21 * KIB, "only what was under way left the origin twice"
    pair.update("--clear-shadow")
    all_here(pair, bodies)


def test_orders_survive_a_kill(own_pair):
    """What `X-Tigris-Schedule-Migration` asked for and was answered comes, though the server is killed before it is begun; then nothing of it is left."""
    pair = own_pair
    bodies = fill(pair, 20)
    pair.create()
    pair.fault("GET", when=lambda e: e.is_object, hold_request=True)
    pair.here.meta.events.register("before-sign.s3.HeadObject", lambda request, **_: request.headers.add_header("X-Tigris-Schedule-Migration", "true"))
    for key in bodies:
        assert pair.is_cold(key)
    pair.umbra.kill()
    pair.proxy.clear_rules()
    pair.proxy.forget()
    pair.umbra.start()
    pair.connect()
    until("all to be here", lambda: pair.umbra.status(pair.name)["objects"] == len(bodies))
    pair.umbra.restart()
    pair.connect()
    all_here(pair, bodies)


def test_pause_resume_cancel(pair):
    """Holds "start, pause, resume, cancel": a pause lasts until it is resumed, and readers do not notice."""
    bodies = fill(pair, 200)
    pair.create()
    migrate(pair, "--max-rps", "40", "--parallel", "4")
    until("some to be here", lambda: pair.umbra.status(pair.name)["objects"] >= 10)
    assert migrate(pair, "--pause")["state"] == "paused"
    # What was under way lands.
    time.sleep(2)
    pair.proxy.forget()
    stays("nothing asked of the origin", lambda: pair.proxy.count() == 0)
    assert pair.read("k0199") == bodies["k0199"]
    again = pair.umbra.storage("migrate", pair.name, check=False)
    assert again.status == 1 and "paused" in again.err, again
    assert migrate(pair, "--cancel")["state"] == "cancelled"
    assert "cancelled" in pair.umbra.storage("migrate", pair.name, "--resume", check=False).err
    assert migrate(pair, "--wait")["objects_left"] == 0
    all_here(pair, bodies)


def test_the_egress_budget(pair):
    """Holds "a total egress budget at which it pauses while readers go on"."""
    bodies = fill(pair, 100, size=10 * KIB)
    pair.create()
    budget = 300 * KIB
    done = pair.umbra.storage("migrate", pair.name, "--wait", "--max-egress", str(budget), check=False)
    assert done.status == 1 and "egress budget" in done.err, done
    assert budget - 11 * KIB <= pair.proxy.body_bytes() <= budget
    assert pair.read("k0099") == bodies["k0099"]
    assert migrate(pair, "--resume", "--max-egress", "10MiB", "--wait")["objects_left"] == 0
    assert pair.proxy.body_bytes() == sum(map(len, bodies.values()))


def test_limits(pair):
    """Holds "limits in MB/s, requests/s": of both, measured over seconds, not exceeded; the limit can be lifted while it runs."""
    fill(pair, 40, size=50 * KIB)
    pair.create()
    began = time.monotonic()
    migrate(pair, "--max-mbps", "0.5", "--parallel", "8")
    until("a fourth to be here", lambda: pair.umbra.status(pair.name)["objects"] >= 10)
    elapsed = time.monotonic() - began
    # What was asked for is let through at the rate; what is in the buffers of so many connections may be ahead of it.
    assert pair.proxy.body_bytes() <= 500_000 * elapsed + 8 * 50 * KIB + 100_000
    assert migrate(pair, "--resume", "--max-mbps", "1000", "--wait")["objects_left"] == 0


def test_an_origin_that_throttles(pair):
    """Holds "backs off when the origin throttles": SlowDown counts against no object."""
    bodies = fill(pair, 100)
    pair.create()
    pair.fault("GET", when=lambda e: e.is_object, times=60, status=503)
    done = migrate(pair, "--wait", timeout=120)
    assert (done["objects_done"], done["objects_failed"], done["objects_left"]) == (100, 0, 0)
    all_here(pair, bodies)


def test_failures_have_reasons(pair):
    """Holds "failed (with reasons)": what the origin does not give is named, and the exit status says so."""
    fill(pair, 20)
    pair.create()
    rule = pair.fault("GET", "k0007", status=403)
    done = pair.umbra.storage("migrate", pair.name, "--wait", check=False, timeout=120)
    assert done.status == 1 and "1 object could not be moved" in done.err, done
    assert "k0007 (tried 4 times)" in done.out, done
    refusal = pair.update("--clear-shadow", check=False)
    assert "1 object is still only at the origin (\"k0007\")" in refusal.err, refusal
    pair.proxy.rules.remove(rule)
    assert migrate(pair, "--wait")["objects_done"] == 1
    pair.update("--clear-shadow")


def test_what_is_left_costs_nothing_to_ask(pair):
    """Holds "*Inventory*: what is left is exact, not estimated, once the origin has been listed through.": the gate's second answer asks the origin nothing."""
    bodies = fill(pair, 120)
    pair.create()
    pair.update("--clear-shadow", check=False)
    for key in list(bodies)[:7]:
        pair.read(key)
        until(f"{key} to be here", lambda: not pair.is_cold(key))
    pair.delete("k0100")
    pair.put("k0101", b"ours")
    pair.proxy.forget()
    refusal = pair.update("--clear-shadow", check=False)
    assert "111 objects are still only at the origin" in refusal.err, refusal
    assert pair.proxy.count() == 0, pair.proxy.story()


def test_the_gate_looks_once_more(pair):
    """An object that the origin's owner adds after everything has moved is seen before the shadow is let go."""
    fill(pair, 5)
    pair.create()
    migrate(pair, "--wait")
    pair.put_there("late", b"x")
    # Long enough for the listing that the migration made not to count any more.
    time.sleep(11)
    refusal = pair.update("--clear-shadow", check=False)
    assert refusal.status == 1 and "1 object is still only at the origin (\"late\")" in refusal.err, refusal
    migrate(pair, "--wait")
    pair.update("--clear-shadow")
    assert pair.read("late") == b"x"


def test_a_progress_bar_on_a_terminal(pair):
    """Holds "The command line shows a progress bar.": with how far it is, the rate and the time left; and nothing of it where nobody looks."""
    fill(pair, 120)
    more = fill(pair, 60, prefix="m")
    pair.create()
    with Terminal(pair.umbra, "storage", "migrate", f"{pair.name}/k", "--wait", "--max-rps", "30", "--parallel", "2") as terminal:
        assert terminal.wait() == 0, terminal.text
        assert re.search(r"\[=+>? *\] \d+ of 120 objects, \S+ KiB of \S+ KiB, \S+ \w+/s, \d+ s left", terminal.text), repr(terminal.text)
        assert re.search(r"State += done", terminal.text), "the report follows"
    done = pair.umbra.storage("migrate", pair.name, "--wait", "--max-rps", "60")
    assert (done.err, "\x1b" in done.out, "[" in done.out) == ("", False, False)
    assert f"{len(more)} objects" in done.out


def test_the_status_shows_what_runs(pair):
    """`status` tells how jobs stand, for programs too; `--watch` draws a bar on a terminal, again and again."""
    fill(pair, 120)
    pair.create()
    assert pair.umbra.status(pair.name)["jobs"] == []
    migrate(pair, "--max-rps", "20", "--parallel", "2")
    bar = r"Backfill += \[=* *\] \d+%, \d+ of 120 objects, .* left"
    with Terminal(pair.umbra, "storage", "status", pair.name, "--watch") as terminal:
        terminal.shows(lambda text: len(re.findall(bar, text)) >= 2 and text.count("\x1b[2J") >= 2)
        terminal.child.send_signal(signal.SIGINT)
        terminal.wait()
    told = pair.umbra.status(pair.name)["jobs"]
    assert [job["kind"] for job in told if job["state"] == "running"] == ["backfill"]
    plain = pair.umbra.storage("status", pair.name).out
    assert re.search(r"Backfill += \d+ of 120 objects, ", plain) and "\x1b" not in plain and "[" not in plain, plain
    migrate(pair, "--pause")
    assert re.search(r"Backfill += paused \(on request\): ", pair.umbra.storage("status", pair.name).out)
    migrate(pair, "--resume", "--max-rps", "10000")
    until("the end", lambda: pair.umbra.status(pair.name)["jobs"][-1]["state"] == "done")
    assert re.search(r"Backfill += done: 120 of 120 objects", pair.umbra.storage("status", pair.name).out)

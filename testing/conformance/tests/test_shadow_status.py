"""What the status and the metrics tell of a shadow, and the revalidation interval."""

import json
import re
import threading
import time

import pytest

from harness.clients import refused
from harness.data import MIB, content
from harness.wait import until


def status(pair):
    return pair.umbra.status(pair.name)["shadow"]


def move(pair, key, body):
    """Puts an object there, reads it here and waits until it is here."""
    pair.put_there(key, body)
    assert pair.read(key) == body
    until("hydration", lambda: not pair.is_cold(key))


def sample(pair, name, **labels):
    """The value of one sample of the metrics of this bucket, on a server of its own: only the first hundred buckets have series."""
    labels = {"bucket": pair.name, **labels}
    for line in pair.umbra.metrics().splitlines():
        found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        if found and found[1] == name and dict(re.findall(r'(\w+)="([^"]*)"', found[2])) == labels:
            return float(found[3])
    return None


# -- egress accounting -----------------------------------------------------------------------------------------


def test_egress_is_accounted_for(own_pair):
    """Holds "egress (`origin bytes / unique bytes moved`, aiming at 1.000)," and "bytes served from here that did not leave the origin,"."""
    own_pair.create()
    move(own_pair, "k", content(3 * MIB))
    for _ in range(4):
        own_pair.read("k")
    told = status(own_pair)
    assert told["origin_bytes"] == own_pair.proxy.body_bytes("k") == 3 * MIB
    assert (told["moved_bytes"], told["egress_ratio"]) == (3 * MIB, 1.0)
    assert (told["local_bytes"], told["saved_bytes"]) == (4 * 3 * MIB, 4 * 3 * MIB)
    kinds = told["origin_requests_by_kind"]
    assert told["origin_requests"] == sum(kinds.values())
    assert kinds["get"] == own_pair.proxy.count("GET", "k", lambda e: "tagging" not in e.query)
    assert sample(own_pair, "umbra_shadow_origin_bytes_total") == 3 * MIB
    assert sample(own_pair, "umbra_shadow_egress_ratio") == 1.0
    assert sample(own_pair, "umbra_shadow_reads_total", source="local") >= 4


def test_counts_survive_restarts(own_pair):
    """Holds "*Status* shows the state, counts,": a restart in order forgets nothing, a crash at most its last second."""
    own_pair.create()
    move(own_pair, "a", content(MIB, 1))
    before = status(own_pair)
    own_pair.umbra.restart()
    after = status(own_pair)
    for count in ("origin_bytes", "moved_bytes", "hydrated_objects", "local_bytes", "cold_bytes", "origin_requests_by_kind"):
        assert after[count] == before[count], count
    move(own_pair, "b", content(MIB, 2))
    wanted = status(own_pair)["origin_bytes"]
    # Longer than it takes to save what was counted.
    time.sleep(2.5)
    own_pair.umbra.restart(kill=True)
    told = status(own_pair)
    assert (told["origin_bytes"], told["hydrated_objects"], told["egress_ratio"]) == (wanted, 2, 1.0)
    assert sample(own_pair, "umbra_shadow_hydrated_objects_total") == 2


def test_money_is_estimated_at_the_price_that_was_set(shadowed):
    """Estimated money: what left the origin, and what did not have to; the price is changed alone."""
    move(shadowed, "k", content(10 * MIB))
    shadowed.read("k")
    assert (status(shadowed)["money_spent"], status(shadowed)["money_saved"]) == (None, None)
    shadowed.update("--shadow-price-per-gb", "90")
    told = status(shadowed)
    for money, count in (("money_spent", "origin_bytes"), ("money_saved", "saved_bytes")):
        assert float(told[money]) == pytest.approx(90 * told[count] / 10**9, abs=1e-6), told
    shown = shadowed.umbra.storage("status", shadowed.name).out
    assert re.search(r"Left The Origin +.*1\.000 per byte moved\), about 0\.94", shown), shown
    assert re.search(r"Shadow Price Per GB += 90\.00", shown), shown
    shadowed.update("--shadow-price-per-gb", "off")
    assert status(shadowed)["money_spent"] is None


def test_what_is_compared_is_counted_apart(own_pair):
    """What `verify --deep` reads is no part of the ratio, and is paid for."""
    own_pair.create()
    move(own_pair, "k", content(10 * MIB))
    own_pair.update("--shadow-price-per-gb", "90")
    own_pair.umbra.storage("verify", own_pair.name, "--deep")
    told = status(own_pair)
    assert (told["origin_bytes"], told["compared_bytes"], told["egress_ratio"]) == (10 * MIB, 10 * MIB, 1.0)
    assert own_pair.proxy.body_bytes("k") == 20 * MIB
    assert float(told["money_spent"]) == pytest.approx(90 * 20 * MIB / 10**9, abs=1e-6)
    assert sample(own_pair, "umbra_shadow_compared_bytes_total") == 10 * MIB
    assert sample(own_pair, "umbra_shadow_egress_ratio") == 1.0
    shown = own_pair.umbra.storage("status", own_pair.name).out
    assert re.search(r"Left The Origin +.*1\.000 per byte moved\), and 10\.0 MiB to be compared, about 1\.88", shown), shown


def test_settings_of_its_own_change_while_the_origin_is_down(shadowed):
    """What concerns us alone is not asked of the origin."""
    shadowed.proxy.stop()
    shadowed.update("--shadow-hydrate", "touched", "--shadow-revalidate", "1h")
    view = shadowed.umbra.status(shadowed.name)["bucket"]["shadow"]
    assert (view["hydrate"], view["revalidate_seconds"], view["price_per_gb"]) == ("touched", 3600, None)
    for flags in (["--shadow-hydrate", "some"], ["--shadow-revalidate", "soon"], ["--shadow-price-per-gb", "-1"]):
        done = shadowed.update(*flags, check=False)
        assert done.status == 2 and "panicked" not in done.err, done


# -- what is wrong ---------------------------------------------------------------------------------------------


def test_the_status_has_a_verdict(own_pair):
    """Holds "health."."""
    own_pair.create()
    move(own_pair, "k", b"x")
    assert status(own_pair)["health"]["verdict"] == "ok"
    assert sample(own_pair, "umbra_shadow_health") == 0
    own_pair.put_there("other", b"y")
    rules = [own_pair.fault("GET", "other", status=403, code="AccessDenied"), own_pair.fault("HEAD", "other", status=403)]
    assert refused(own_pair.get, "other").status == 503
    health = status(own_pair)["health"]
    assert health["verdict"] == "failing" and "failed" in health["reason"], health
    assert sample(own_pair, "umbra_shadow_health") == 2
    assert re.search(r"Health +.*= failing: ", own_pair.umbra.storage("status", own_pair.name).out)
    own_pair.proxy.clear_rules()
    assert rules and own_pair.read("other") == b"y"
    health = status(own_pair)["health"]
    assert health["verdict"] == "degraded" and "answers again" in health["reason"], health


def test_archived_objects_show_in_the_status(own_pair):
    """Holds "they show in the status."."""
    keys = [f"ice/{n}" for n in range(5)] + ["ice/é\n"]
    for key in keys:
        own_pair.put_there(key, b"frozen")
    own_pair.create()
    for key in keys:
        own_pair.fault("HEAD", key, response_headers={"x-amz-storage-class": "GLACIER"})
        own_pair.fault("GET", key, status=403, code="InvalidObjectState")
        assert refused(own_pair.get, key).code == "InvalidObjectState"
    own_pair.umbra.restart(kill=True)
    (summary,) = status(own_pair)["uncarried"]
    assert (summary["reason"], summary["objects"]) == ("archived", 6) and set(summary["keys"]) < set(keys)
    listed = own_pair.umbra.storage("status", own_pair.name, "--uncarried", "--json").out.splitlines()
    assert [(o["key"], o["reasons"]) for o in map(json.loads, listed)] == [(key, ["archived"]) for key in sorted(keys)]
    shown = own_pair.umbra.storage("status", own_pair.name, "--uncarried").out.splitlines()
    assert len(shown) == 6 and all("archived" in line for line in shown)
    assert sample(own_pair, "umbra_shadow_uncarried_objects", reason="archived") == 6
    # Restored there, read here: nothing is missing of it any more.
    own_pair.proxy.clear_rules()
    assert own_pair.read(keys[0]) == b"frozen"
    until("hydration", lambda: not own_pair.is_cold(keys[0]))
    assert status(own_pair)["uncarried"][0]["objects"] == 5


def test_s3_requests_are_counted_and_timed(umbra, c, bucket):
    """Requests and their durations by operation and class of status."""

    def counts(operation, cls):
        text = umbra.metrics()
        found = re.search(rf'umbra_s3_requests_total\{{operation="{operation}",status="{cls}"\}} (\d+)', text)
        timed = re.search(rf'umbra_s3_request_seconds_count\{{operation="{operation}",status="{cls}"\}} (\d+)', text)
        return int(found[1]) if found else 0, int(timed[1]) if timed else 0

    before = counts("put_object", "2xx"), counts("get_object", "4xx")
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refused(c.get_object, Bucket=bucket, Key="absent").status == 404
    after = counts("put_object", "2xx"), counts("get_object", "4xx")
    assert [tuple(n + 1 for n in pair) for pair in before] == list(after)


# -- revalidation ----------------------------------------------------------------------------------------------


def asked(pair, key):
    """Conditional requests for a key."""
    return pair.proxy.seen(key=key, when=lambda e: e.headers.get("if-none-match") is not None)


def test_revalidation_sees_what_changed_at_the_origin(shadowed):
    """Holds "per bucket a revalidation interval can be set (a conditional request to the origin when an unmodified hydrated object is older"."""
    for key in ("same", "changed", "gone", "ours"):
        move(shadowed, key, f"first {key}".encode())
    shadowed.put("ours", b"written here")
    shadowed.put_there("changed", b"second")
    shadowed.put_there("ours", b"second")
    shadowed.there.delete_object(Bucket=shadowed.origin_name, Key="gone")
    shadowed.proxy.forget()
    assert shadowed.read("changed") == b"first changed", "not seen by default"
    assert not shadowed.proxy.seen()

    shadowed.update("--shadow-revalidate", "1s")
    time.sleep(1.2)
    assert shadowed.read("same") == b"first same"
    (question,) = asked(shadowed, "same")
    assert (question.status, question.method, shadowed.proxy.body_bytes("same")) == (304, "HEAD", 0)
    assert shadowed.read("changed") == b"second"
    until("the new copy", lambda: not shadowed.is_cold("changed"))
    assert shadowed.read("ours") == b"written here" and not shadowed.proxy.seen(key="ours")
    assert refused(shadowed.get, "gone").status == 404
    assert shadowed.keys() == ["changed", "ours", "same"]
    assert shadowed.proxy.body_bytes("changed") == len(b"second")

    shadowed.update("--shadow-revalidate", "1h")
    shadowed.proxy.forget()
    for _ in range(3):
        shadowed.read("same"), shadowed.head("same")
    assert not asked(shadowed, "same")


def test_revalidation_without_an_origin_serves_what_is_here(shadowed):
    """An origin that does not answer changes nothing."""
    move(shadowed, "k", b"first")
    shadowed.update("--shadow-revalidate", "1s")
    time.sleep(1.2)
    shadowed.proxy.stop()
    assert shadowed.read("k") == b"first"
    assert shadowed.read("k") == b"first" and shadowed.head("k")["ContentLength"] == 5


def test_readers_of_a_changed_object_share_one_transfer(shadowed):
    """Many readers at once: one question, one transfer, never a mixture."""
    old, new = content(2 * MIB, 1), content(3 * MIB, 2)
    move(shadowed, "k", old)
    shadowed.put_there("k", new)
    shadowed.update("--shadow-revalidate", "2s")
    time.sleep(2.2)
    shadowed.proxy.forget()
    read = []
    readers = [threading.Thread(target=lambda: read.append(shadowed.read("k"))) for _ in range(12)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(read) == 12 and all(body == new for body in read)
    assert len(asked(shadowed, "k")) == 1 and shadowed.proxy.body_bytes("k") == 3 * MIB

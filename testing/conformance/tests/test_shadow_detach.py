"""Detaching: the gate, and that it is final."""

import threading

from botocore.exceptions import BotoCoreError, ClientError

from harness.clients import refused
from harness.data import MIB, content
from harness.threads import Background
from harness.wait import stays, until


def hydrate(pair, *keys):
    for key in keys:
        pair.read(key)
    for key in keys:
        until(f"{key} to be here", lambda: not pair.is_cold(key))


def test_refused_while_cold_objects_remain(shadowed):
    """Holds "It refuses while cold objects remain or repairs are pending, naming how many, unless forced;"."""
    keys = [f"k{n:02d}" for n in range(17)]
    for key in keys:
        shadowed.put_there(key, b"x")
    shadowed.put("k03", b"ours")
    shadowed.delete("k04")
    hydrate(shadowed, "k05")
    done = shadowed.update("--clear-shadow", check=False)
    assert done.status == 1 and "14" in done.err, done
    assert shadowed.read("k06") == b"x", "still attached"
    hydrate(shadowed, *[k for k in keys if k != "k04"])
    shadowed.update("--clear-shadow")
    shadowed.proxy.stop()
    assert shadowed.keys() == [k for k in keys if k != "k04"]
    assert shadowed.read("k03") == b"ours" and shadowed.read("k06") == b"x"
    assert refused(shadowed.get, "k04").status == 404


def test_refused_when_the_origin_cannot_say(shadowed):
    """The same when nobody can count what remains: absence is never guessed."""
    shadowed.proxy.stop()
    done = shadowed.update("--clear-shadow", check=False)
    assert done.status == 1 and done.err.strip(), done
    shadowed.update("--clear-shadow", "--force")
    assert refused(shadowed.get, "k").status == 404


def test_no_request_after_a_forced_detach(shadowed):
    """Holds "from then on no request reads from or writes to the origin."."""
    for key in ("cold", "hydrated"):
        shadowed.put_there(key, b"x")
    hydrate(shadowed, "hydrated")
    shadowed.update("--clear-shadow", "--force")
    shadowed.proxy.forget()
    assert shadowed.read("hydrated") == b"x"
    assert refused(shadowed.get, "cold").code == "NoSuchKey"
    assert refused(shadowed.head, "cold").status == 404
    assert shadowed.keys() == ["hydrated"]
    shadowed.put("new", b"y")
    shadowed.delete("hydrated")
    shadowed.here.delete_objects(Bucket=shadowed.name, Delete={"Objects": [{"Key": "cold"}]})
    assert shadowed.keys() == ["new"]
    assert shadowed.proxy.count() == 0, shadowed.proxy.story()
    assert shadowed.umbra.status(shadowed.name)["bucket"]["shadow"] is None


def test_detaching_write_through_stops_writing_through(written):
    """The same with write-through; and detaching twice is no harm."""
    written.put("k", b"1")
    written.update("--clear-shadow")
    written.proxy.forget()
    written.put("k", b"2")
    written.delete("k")
    assert written.proxy.count() == 0 and written.read_there("k") == b"1"
    again = written.update("--clear-shadow", check=False)
    assert again.status in (0, 1) and "panicked" not in again.err


def test_in_flight_hydrations(shadowed):
    """Holds "in-flight hydrations"; they "either finish before it or leave nothing behind."."""
    body = content(8 * MIB)
    shadowed.put_there("k", body)
    rule = shadowed.fault("GET", "k", hold_at=2 * MIB)
    reader = Background(shadowed.read, "k")
    rule.await_reached()
    clear = Background(shadowed.update, "--clear-shadow", "--force")
    threading.Timer(1.0, rule.release).start()
    clear.result()
    try:
        assert reader.result() == body
    except (ClientError, BotoCoreError):
        pass
    here = shadowed.is_here("k")
    if here:
        assert shadowed.read("k") == body
    stays("decided", lambda: shadowed.is_here("k") == here)
    assert shadowed.keys() == (["k"] if here else [])


def test_detached_over_a_restart(own_pair):
    """Detaching survives a kill."""
    pair = own_pair
    pair.put_there("k", b"x")
    pair.create()
    pair.update("--clear-shadow", "--force")
    pair.umbra.restart(kill=True)
    pair.connect()
    pair.proxy.forget()
    assert refused(pair.get, "k").status == 404 and pair.proxy.count() == 0


def test_attaching_again_is_a_new_generation(shadowed):
    """Holds "*Generation*: a number that grows each time": after a detach the same origin can be attached again, and what was deleted then is judged anew or stays gone, but what was written stays."""
    shadowed.put_there("cold", b"x")
    shadowed.put_there("ours", b"theirs")
    shadowed.put("ours", b"ours")
    shadowed.update("--clear-shadow", "--force")
    assert refused(shadowed.get, "cold").status == 404
    shadowed.update(*shadowed.flags())
    assert shadowed.read("cold") == b"x" and shadowed.read("ours") == b"ours"
    assert shadowed.keys() == ["cold", "ours"]


def test_another_origin_is_another_generation(pair, moto):
    """A hydration begun under one origin never lands under the next."""
    from harness.shadowed import Shadowed

    old, new = content(4 * MIB, "old"), content(MIB, "new")
    pair.put_there("k", old)
    pair.create()
    rule = pair.fault("GET", "k", hold_at=MIB)
    reader = Background(pair.read, "k")
    rule.await_reached()
    other = Shadowed(pair.umbra, moto)
    try:
        other.put_there("k", new)
        threading.Timer(1.0, rule.release).start()
        pair.update("--clear-shadow", "--force")
        if pair.is_here("k"):
            return  # the hydration finished before the detach: the object is ours now
        pair.update(*other.flags())
        rule.release()
        reader.error()
        stays("the new origin's object", lambda: pair.read("k") == new)
    finally:
        other.close()


def test_destroy_leaves_the_origin_alone(shadowed):
    """`destroy` removes the bucket here, with its keys, and touches nothing at the origin."""
    shadowed.put_there("cold", b"x")
    shadowed.put("here", b"y")
    shadowed.proxy.forget()
    shadowed.umbra.storage("destroy", shadowed.name, "-y")
    assert shadowed.read_there("cold") == b"x"
    assert [e for e in shadowed.proxy.seen() if e.method not in ("GET", "HEAD")] == []
    assert refused(shadowed.here.list_objects_v2, Bucket=shadowed.name).status in (403, 404)


def test_delete_bucket_over_s3_sees_cold_objects(shadowed):
    """DeleteBucket refuses while cold objects remain: to a client the bucket is not empty."""
    shadowed.put_there("cold", b"x")
    root = shadowed.umbra.client()
    error = refused(root.delete_bucket, Bucket=shadowed.name)
    assert (error.status, error.code) == (409, "BucketNotEmpty")
    assert shadowed.read("cold") == b"x"

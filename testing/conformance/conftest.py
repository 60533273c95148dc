"""Servers shared by the session, buckets made per test, and what to show when a test fails."""

import zlib

import pytest

from harness import postgres, process
from harness.clients import anonymous, read, s3
from harness.engine import Engine
from harness.moto_origin import Moto
from harness.organizations import Org
from harness.raw import Wire
from harness.regions import Regions
from harness.seaweed import SeaweedFS
from harness.shadowed import Shadowed, name
from harness.umbra import Umbra


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave out slow cases")
    parser.addoption("--huge", action="store_true", help="also move 5 GiB")
    parser.addoption("--many", type=int, default=20_000, help="how many small objects to move at once")


def pytest_collection_modifyitems(config, items):
    """Left-out cases are deselected, not skipped: nothing that was asked for is passed over."""
    left_out = set()
    if config.getoption("--quick"):
        left_out.add("slow")
    if not config.getoption("--huge"):
        left_out.add("huge")
    kept = [i for i in items if not any(i.get_closest_marker(m) for m in left_out)]
    if len(kept) != len(items):
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for label, text in _evidence(item):
            report.sections.append((label, text))
    return report


def _evidence(item):
    for fixture, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, Umbra) and value.process:
            yield f"log of {fixture}", value.process.log_tail(40)
        if isinstance(value, Shadowed):
            yield f"log of {fixture}'s server", value.umbra.process.log_tail(40)
            yield f"what the proxy of {fixture} saw", "\n".join(value.proxy.story().splitlines()[-60:])


def pytest_sessionfinish():
    process.kill_all()
    postgres.stop_shared()


@pytest.fixture(scope="session")
def umbra(tmp_path_factory):
    """The server most tests share."""
    server = Umbra(tmp_path_factory.mktemp("umbra")).start()
    yield server
    server.remove()


@pytest.fixture
def own_umbra(tmp_path):
    """A server of the test's own, to stop and to kill."""
    server = Umbra(tmp_path / "umbra").start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A PostgreSQL of the file's own."""
    server = postgres.Postgres(postgres.open_to_others(tmp_path_factory.mktemp("postgres")) / "p").start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A SeaweedFS of the file's own, for contents."""
    made = Engine(tmp_path_factory.mktemp("engine") / "s").start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def other_engine(tmp_path_factory):
    """Another one."""
    made = Engine(tmp_path_factory.mktemp("other-engine") / "s").start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def engines(tmp_path_factory, request):
    """A SeaweedFS for each region; a file names its regions as REGIONS."""
    names = getattr(request.module, "REGIONS", ("fra", "iad"))
    made = {name: Engine(tmp_path_factory.mktemp(f"engine-{name}") / "s").start() for name in names}
    yield made
    for engine in made.values():
        engine.stop()


@pytest.fixture
def unstarted_regions(database, engines, tmp_path, request):
    """A node in each region on a database of the test's own, with the flags that a file names as FLAGS or a test as its parameter."""
    flags = getattr(request, "param", getattr(request.module, "FLAGS", ()))
    made = Regions(tmp_path, database.database(f"r_{zlib.crc32(request.node.name.encode())}"), engines, flags)
    yield made
    made.remove()


@pytest.fixture
def regions(unstarted_regions):
    unstarted_regions.start()
    # What they try their engines with.
    unstarted_regions.forget()
    return unstarted_regions


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory):
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed") / "s").start()
    client = s3(server.endpoint, server.access_key, server.secret_key, retries=True)
    client.create_bucket(Bucket="warm-up")
    client.put_object(Bucket="warm-up", Key="k", Body=b"x")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    server = Moto(tmp_path_factory.mktemp("moto")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def second_umbra(tmp_path_factory):
    """A second Umbra, to play the origin."""
    server = Umbra(tmp_path_factory.mktemp("second")).start()
    yield server
    server.remove()


@pytest.fixture
def bucket(umbra):
    """A plain bucket of the root key; its name."""
    made = name("plain")
    umbra.client().create_bucket(Bucket=made)
    return made


@pytest.fixture
def c(umbra):
    """A boto3 client with the root key."""
    return umbra.client()


@pytest.fixture
def wire(umbra, c, bucket):
    """A hand to write requests with; whatever was sent, the server must serve afterwards."""
    yield Wire(umbra, bucket)
    assert umbra.process.running()
    c.put_object(Bucket=bucket, Key="still-serving", Body=b"yes")
    assert read(c, bucket, "still-serving") == b"yes"
    assert "panicked" not in umbra.log_path.read_text(errors="replace")


@pytest.fixture
def pair(umbra, seaweed):
    """A bucket yet to be created, whose origin is SeaweedFS: fill the origin, then call `create`."""
    made = Shadowed(umbra, seaweed)
    yield made
    made.close()


@pytest.fixture
def shadowed(pair):
    """A bucket attached to an empty origin at SeaweedFS."""
    return pair.create()


@pytest.fixture
def written(pair):
    """The same with write-through."""
    return pair.create(write_through=True)


@pytest.fixture
def ours(umbra):
    """An organization of the test's own."""
    return Org(umbra, "ours")


@pytest.fixture
def theirs(umbra):
    """Another."""
    return Org(umbra, "theirs")


@pytest.fixture
def owner(ours):
    """A client that may do everything to what is ours."""
    return ours.client()


@pytest.fixture
def everyone(umbra):
    """A client without a key."""
    return anonymous(umbra.endpoint)


@pytest.fixture
def store(owner):
    """The name of a bucket of ours that holds `k`."""
    made = name("store")
    owner.create_bucket(Bucket=made)
    owner.put_object(Bucket=made, Key="k", Body=b"content")
    return made


@pytest.fixture(params=[False, True], ids=["read-only", "write-through"])
def either(request, pair):
    """The same, once without and once with write-through."""
    pair.write_through = request.param
    return pair.create(write_through=request.param)


@pytest.fixture
def own_pair(own_umbra, seaweed):
    """Like `pair`, on a server of the test's own."""
    made = Shadowed(own_umbra, seaweed)
    yield made
    made.close()


@pytest.fixture
def umbra_pair(umbra, second_umbra):
    """Like `pair`, with a second Umbra as the origin: for keys SeaweedFS cannot hold."""
    made = Shadowed(umbra, second_umbra)
    yield made
    made.close()


@pytest.fixture
def moto_pair(umbra, moto):
    """Like `pair`, with moto as the origin."""
    made = Shadowed(umbra, moto)
    yield made
    made.close()

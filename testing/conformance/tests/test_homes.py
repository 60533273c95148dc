"""Homes of contents that follow those who read, and copies that nobody reads: two regions, each with an engine of its own."""

import pytest

from harness import postgres as pg
from harness.clients import read, refused
from harness.data import MIB, content
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")

FLAGS = ["--home-window", "2"]


def test_a_home_moves_to_its_readers(regions):
    """All reads come from iad: soon iad has the bytes and fra none; fra reads them from there, and a delete takes all of them."""
    fra, iad = regions
    here, there = fra.client(), iad.client()
    here.create_bucket(Bucket="bucket")
    moving, staying = content(2 * MIB, 1), content(MIB, 2)
    here.put_object(Bucket="bucket", Key="moving", Body=moving)
    here.put_object(Bucket="bucket", Key="staying", Body=staying)
    assert read(there, "bucket", "staying") == staying

    def moved():
        for _ in range(10):
            assert read(there, "bucket", "moving") == moving
        return fra.metric("umbra_placement_moves_total") == 1

    until("the home has moved", moved, seconds=60)
    until("only what stays is in fra", lambda: len(fra.kept()) == 1, seconds=60)
    assert len(iad.kept()) == 2
    regions.forget()
    for client in (there, here):
        assert read(client, "bucket", "moving") == moving
        assert read(client, "bucket", "moving", Range="bytes=1000-99999") == moving[1000:100_000]
        assert client.head_object(Bucket="bucket", Key="moving")["ContentLength"] == len(moving)
    # fra has brought it back from iad once, and nothing but what it looked for in vain came from fra.
    assert iad.gets() >= 2
    until("fra keeps a copy", lambda: len(fra.kept()) == 2)
    # What is at home in iad now is there without fra.
    fra.proxy.stop()
    assert read(there, "bucket", "moving") == moving
    fra.proxy.start()
    # Nodes that know nothing of the move find it.
    for region in regions:
        region.node.restart()
        assert read(region.client(), "bucket", "moving") == moving
    here, there = fra.client(), iad.client()
    here.delete_object(Bucket="bucket", Key="moving")
    for client in (here, there):
        assert refused(read, client, "bucket", "moving").code == "NoSuchKey"
    here.delete_object(Bucket="bucket", Key="staying")
    until("nothing is left anywhere", lambda: not fra.kept() and not iad.kept(), seconds=120)


@pytest.mark.parametrize("unstarted_regions", [["--copy-idle", "2"]], indirect=True)
def test_copies_that_nobody_reads_go(regions):
    """A copy goes when it has not been read for so long; what it was of stays, and is fetched again."""
    fra, iad = regions
    here, there = fra.client(), iad.client()
    here.create_bucket(Bucket="bucket")
    body = content(2 * MIB, 3)
    here.put_object(Bucket="bucket", Key="k", Body=body)
    for _ in range(2):
        assert read(there, "bucket", "k") == body
        until("the copy is gone", lambda: fra.metric("umbra_placement_idle_copies_total") > 0 and not iad.kept(), seconds=60)
        assert len(fra.kept()) == 1
    assert read(there, "bucket", "k") == body

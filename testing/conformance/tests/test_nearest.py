"""Two regions, each with a URL: who comes in at one and is nearer to the other is sent there.

Clients on 127.0.0.1 and 127.0.0.2 are told apart by their address. They come in by the name `localhost`, which stands for the name that all
clients begin with; the URL of a region is its address.
"""

import shutil
import signal
import subprocess

import pytest
from botocore.exceptions import ClientError

from harness import postgres as pg
from harness.clients import s3
from harness.data import content
from harness.process import free_ports
from harness.raw import EMPTY, Signer, request, send
from harness.regions import Regions
from harness.umbra import ROOT_KEY, ROOT_SECRET
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")

NEAR, FAR = "127.0.0.2", "127.0.0.1"
BODY = content(100_000, 1)


class Pair:
    """The two regions. The maps differ: each says that clients at `FAR` are nearer to the other."""

    def __init__(self, directory, database, engines, *flags):
        self.regions = Regions(directory, database, engines, flags=flags)
        self.fra, self.iad = self.regions
        ports = free_ports(2)
        urls = [f for region, port in zip(self.regions, ports) for f in ("--region-url", f"{region.name}=http://127.0.0.1:{port}")]
        for region, port, other in zip(self.regions, ports, (self.iad, self.fra)):
            region.port, region.map = port, directory / f"map-{region.name}"
            region.map.write_text(f"# by address\n{FAR}/32,{other.name}\n127.0.0.0/8,{region.name}\n")
            region.node.listen = f"127.0.0.1:{port}"
            region.node.flags += [*urls, "--region-map", str(region.map)]

    def start(self):
        self.regions.start()
        self.fra.client().create_bucket(Bucket="bucket", ACL="public-read")
        self.fra.client().put_object(Bucket="bucket", Key="k", Body=BODY, ACL="public-read")
        for region in self.regions:
            until(f"{region.name} sees the other region", lambda region=region: self.ask(region, signed=False).status == 307)
        return self

    def ask(self, region, method="GET", target="/bucket/k", source=FAR, host="localhost", body=b"", extra=None, signed=True, sign_for="us-east-1", unsent=0):
        """One request to the node of a region; `unsent` announces a body that does not come."""
        name = f"{host}:{region.port}"
        path, _, query = target.partition("?")
        headers = {"host": name}
        if signed:
            signer = Signer(ROOT_KEY, ROOT_SECRET, sign_for)
            headers = signer.headers(method, name, path, query, "UNSIGNED-PAYLOAD" if body or unsent else EMPTY)
        headers |= {"content-length": unsent or len(body), "connection": "close", **(extra or {})}
        return send(("127.0.0.1", region.port), request(method, target, headers, body), source=source)


@pytest.fixture
def pair(database, engines, tmp_path, request):
    flags = getattr(request, "param", ("--region-redirect", "all"))
    made = Pair(tmp_path, database.database("n_" + request.node.name.split("[")[0][:50]), engines, *flags)
    yield made
    made.regions.remove()


def is_sent(answer, region, target="/bucket/k"):
    assert answer.status == 307, answer
    assert answer.headers["location"] == f"http://127.0.0.1:{region.port}{target}"
    assert answer.headers["x-amz-bucket-region"] == region.name
    return True


def test_who_is_nearer_to_another_region_is_sent_there(pair):
    """Told apart by address, sent by S3's redirect, and answered where it is sent, whatever the map there says."""
    fra, iad = pair.start().regions
    assert f"fra, beside iad; clients are sent to the nearest by {fra.map}" in fra.node.stdout()
    assert pair.ask(fra, source=NEAR).body == BODY
    answer = pair.ask(fra)
    assert is_sent(answer, iad) and answer.code == "TemporaryRedirect"
    assert f"<Endpoint>127.0.0.1:{iad.port}</Endpoint>".encode() in answer.body and b"<Bucket>bucket</Bucket>" in answer.body
    assert pair.ask(iad, host="127.0.0.1").body == BODY, "there it is answered, though that map would send it back"
    assert is_sent(pair.ask(iad), fra), "which it does with who comes in by the common name"
    assert is_sent(pair.ask(fra, target="/bucket?list-type=2"), iad, "/bucket?list-type=2")
    assert is_sent(pair.ask(fra, "DELETE", "/bucket/gone"), iad, "/bucket/gone")
    assert pair.ask(fra, "PUT", "/bucket/p", body=b"content").status == 200, "its body is on its way"
    assert pair.ask(fra, target="/").status == 200, "not of one bucket"
    url = s3(f"http://localhost:{fra.port}", ROOT_KEY, ROOT_SECRET).generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k"})
    assert pair.ask(fra, target="/" + url.split("/", 3)[3], signed=False).body == BODY, "a signed URL is good for its host"


def test_a_body_is_sent_once_and_to_where_it_belongs(pair):
    """Who waits to be asked for a body is sent elsewhere before it has sent any of it."""
    fra, iad = pair.start().regions
    size, waiting = 50_000_000, {"expect": "100-continue"}
    answer = pair.ask(fra, "PUT", "/bucket/p", unsent=size, extra=waiting)
    assert is_sent(answer, iad, "/bucket/p") and answer.raw.startswith(b"HTTP/1.1 307") and answer.headers["connection"] == "close"
    near = pair.ask(fra, "PUT", "/bucket/p", source=NEAR, unsent=size, extra=waiting)
    assert near.status == 100, "this one is asked for it here"


def test_a_region_without_a_node_is_not_named(pair):
    fra, iad = pair.start().regions
    assert is_sent(pair.ask(fra), iad)
    iad.node.kill()
    until("clients are answered here", lambda: pair.ask(fra).status == 200)
    iad.node.start()
    until("clients are sent there again", lambda: pair.ask(fra).status == 307)


def test_clients_that_cannot_go_are_answered_where_they_ask(pair):
    """boto3 takes the name of the region from a redirect and asks the same endpoint again; no more redirects of that bucket follow."""
    fra, _ = pair.start().regions
    client = s3(f"http://localhost:{fra.port}", ROOT_KEY, ROOT_SECRET)
    for _ in range(2):
        answer = client.get_object(Bucket="bucket", Key="k")
        assert answer["Body"].read() == BODY
    client.put_object(Bucket="bucket", Key="p", Body=BODY)
    assert {entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]} == {"k", "p"}
    client.delete_object(Bucket="bucket", Key="p")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket="bucket", Key="p")
    assert pair.ask(fra, sign_for="iad").body == BODY


@pytest.mark.parametrize("pair", [()], indirect=True)
def test_without_being_told_only_reads_without_a_signature_are_sent(pair):
    fra, iad = pair.start().regions
    assert pair.ask(fra).body == BODY
    assert is_sent(pair.ask(fra, signed=False), iad)
    if shutil.which("curl"):
        curl = ["curl", "-sSL", "--max-redirs", "3", "-w", "%{num_redirects}", f"http://localhost:{fra.port}/bucket/k", "--interface"]
        read = {source: subprocess.run([*curl, source], capture_output=True, check=True).stdout for source in (NEAR, FAR)}
        assert read == {NEAR: BODY + b"0", FAR: BODY + b"1"}


def test_the_map_is_read_again(pair):
    fra, iad = pair.start().regions
    assert pair.ask(fra, source=NEAR).status == 200
    fra.map.write_text(f"{NEAR},iad\n{FAR},fra\n")
    fra.node.process.child.send_signal(signal.SIGHUP)
    until("the new map is in use", lambda: pair.ask(fra, source=NEAR).status == 307)
    assert pair.ask(fra).body == BODY
    fra.map.write_text(f"{NEAR},fra\n{FAR},sin\n")
    fra.node.process.child.send_signal(signal.SIGHUP)
    until("the map is refused", lambda: "the earlier one stays in use" in fra.node.all_text())
    assert "line 2 names a region that clients have no URL of" in fra.node.all_text()
    assert is_sent(pair.ask(fra, source=NEAR), iad)


def test_a_map_that_cannot_be_used_is_refused(pair):
    node = pair.fra.node
    pair.fra.map.write_text("10.0.0.0/8 iad\n")
    node.start(ready=False)
    until("it ends", lambda: not node.process.running())
    assert "map-fra for the setting region_map: line 1 is not of the form NETWORK,REGION" in node.all_text()

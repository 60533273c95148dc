"""Notifications: S3's configuration, and events that reach a web hook whatever happens on the way."""

import base64
import hashlib
import json

import pytest

from harness import raw
from harness.clients import put_multipart, refused
from harness.hook import Hook
from harness.organizations import Org
from harness.shadowed import name
from harness.umbra import Umbra
from harness.wait import stays, until

ARN = "arn:umbra:sqs::one:webhook"
OTHER = "arn:umbra:sqs::two:webhook"


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def told(tmp_path, hook):
    """A server with two web hooks at one receiver, and a bucket of it."""
    server = Umbra(tmp_path / "told", "--webhook", f"one={hook.url}/", "--webhook", f"two={hook.url}/two", "--lifecycle-day", "1").start()
    server.client().create_bucket(Bucket="told")
    yield server
    server.remove()


def queue(*events, arn=ARN, id="q", prefix=None, suffix=None):
    made = {"Id": id, "QueueArn": arn, "Events": list(events)}
    rules = [{"Name": name, "Value": value} for name, value in (("Prefix", prefix), ("Suffix", suffix)) if value is not None]
    if rules:
        made["Filter"] = {"Key": {"FilterRules": rules}}
    return made


def tell(server, *queues, bucket="told", **others):
    configuration = {"QueueConfigurations": list(queues), **others}
    server.client().put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True)


def test_receivers_are_tested(told, hook):
    """Topics and queues that are set are sent s3:TestEvent, before anything else and until they answer; functions are not, nor who asks for none."""
    c = told.client()
    hook.status = 500
    configuration = {
        "QueueConfigurations": [queue("s3:ObjectCreated:*")],
        "LambdaFunctionConfigurations": [{"Id": "f", "LambdaFunctionArn": OTHER, "Events": ["s3:ObjectCreated:*"]}],
    }
    refused(c.put_bucket_notification_configuration, Bucket="told", NotificationConfiguration=configuration)
    configuration["LambdaFunctionConfigurations"][0]["Events"] = ["s3:ObjectRemoved:*"]
    answer = c.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration=configuration)
    c.put_object(Bucket="told", Key="k", Body=b"x")
    until("an attempt", lambda: hook.attempts)
    hook.status = 200
    until("the event", hook.told)
    c.delete_object(Bucket="told", Key="k")
    until("the function's event", lambda: hook.told("/two"))
    [test] = hook.tests()
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert {name: test[name] for name in ("Service", "Event", "Bucket", "RequestId")} == {
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "told", "RequestId": request,
    }
    assert test["Time"] and test["HostId"] and set(test) == {"Service", "Event", "Bucket", "RequestId", "Time", "HostId"}
    assert hook.documents[0][1] == test and not hook.tests("/two")
    tell(told, queue("s3:ObjectCreated:*", arn=OTHER, id="other"))
    c.put_object(Bucket="told", Key="k", Body=b"x")
    until("the other's event", lambda: len(hook.told("/two")) == 2)
    assert len(hook.tests()) == 1 and not hook.tests("/two")


def test_a_configuration_comes_back_as_it_was_set(told):
    """All three kinds of receivers, filters included; an empty configuration removes it."""
    c = told.client()
    configuration = {
        "QueueConfigurations": [queue("s3:ObjectCreated:Put", "s3:ObjectCreated:Copy", prefix="in/", suffix=".jpg")],
        "TopicConfigurations": [{"Id": "t", "TopicArn": OTHER, "Events": ["s3:ObjectRemoved:*"]}],
        "LambdaFunctionConfigurations": [{"Id": "f", "LambdaFunctionArn": ARN, "Events": ["s3:LifecycleExpiration:*"]}],
    }
    shown = c.get_bucket_notification_configuration(Bucket="told")
    assert set(shown) == {"ResponseMetadata"}
    c.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration=configuration)
    shown = c.get_bucket_notification_configuration(Bucket="told")
    del shown["ResponseMetadata"]
    assert shown == configuration
    tell(told)
    assert set(c.get_bucket_notification_configuration(Bucket="told")) == {"ResponseMetadata"}


@pytest.mark.parametrize(
    ("queues", "code"),
    [
        ([queue("s3:ObjectCreated:*", arn="arn:umbra:sqs::three:webhook")], "InvalidArgument"),
        ([queue("s3:ObjectCreated:*", arn="arn:aws:sqs:us-east-1:123456789012:queue")], "InvalidArgument"),
        ([queue("s3:NothingKnown")], "InvalidArgument"),
        ([queue("s3:ObjectTagging:Put")], "NotImplemented"),
        ([queue("s3:ObjectCreated:*"), queue("s3:ObjectRemoved:*")], "InvalidArgument"),
        ([queue("s3:ObjectCreated:*", id="a", prefix="in/"), queue("s3:ObjectCreated:Put", id="b", prefix="in/x")], "InvalidArgument"),
    ],
)
def test_what_s3_refuses(told, queues, code):
    """Unknown receivers, unknown kinds, names twice, and receivers of one and the same change."""
    assert refused(tell, told, *queues).code == code
    assert set(told.client().get_bucket_notification_configuration(Bucket="told")) == {"ResponseMetadata"}


def test_every_kind_of_change_is_told(told, hook):
    """In the order of the changes, with what S3 tells of each."""
    c = told.client()
    tell(told, queue("s3:ObjectCreated:*", "s3:ObjectRemoved:*"))
    put = c.put_object(Bucket="told", Key="a b+é", Body=b"1234567")
    c.copy_object(Bucket="told", Key="copy", CopySource={"Bucket": "told", "Key": "a b+é"})
    put_multipart(c, "told", "parts", [b"x"])
    c.delete_object(Bucket="told", Key="copy")
    c.delete_objects(Bucket="told", Delete={"Objects": [{"Key": "parts"}]})
    c.delete_object(Bucket="told", Key="never was")
    expected = [
        ("ObjectCreated:Put", "a+b%2B%C3%A9"), ("ObjectCreated:Copy", "copy"), ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectRemoved:Delete", "copy"), ("ObjectRemoved:Delete", "parts"),
    ]
    until("all events", lambda: len(hook.told()) >= len(expected))
    assert [(kind, key.replace("%20", "+")) for kind, key in hook.told()] == expected
    record = hook.records()[0]
    assert record["eventSource"] == "aws:s3" and record["s3"]["bucket"]["name"] == "told" and record["s3"]["configurationId"] == "q"
    assert record["s3"]["object"]["size"] == 7 and record["s3"]["object"]["eTag"] == put["ETag"].strip('"')
    sequencers = [r["s3"]["object"]["sequencer"] for r in hook.records()]
    assert sequencers == sorted(sequencers)


def test_receivers_choose(told, hook):
    """By kind, prefix and suffix; each receiver is told what it asked for."""
    c = told.client()
    tell(told, queue("s3:ObjectCreated:*", id="jpg", prefix="in/", suffix=".jpg"), queue("s3:ObjectRemoved:Delete", id="gone", arn=OTHER))
    for key in ("in/a.jpg", "in/a.png", "out/a.jpg"):
        c.put_object(Bucket="told", Key=key, Body=b"x")
    c.delete_object(Bucket="told", Key="in/a.png")
    until("both receivers to be told", lambda: hook.told("/") and hook.told("/two"))
    assert hook.told("/") == [("ObjectCreated:Put", "in/a.jpg")]
    assert hook.told("/two") == [("ObjectRemoved:Delete", "in/a.png")]


def test_expiry_is_told(told, hook):
    """What a lifecycle rule deletes is told as such."""
    c = told.client()
    tell(told, queue("s3:LifecycleExpiration:*", "s3:ObjectRemoved:*"))
    c.put_object(Bucket="told", Key="old", Body=b"x")
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}
    c.put_bucket_lifecycle_configuration(Bucket="told", LifecycleConfiguration={"Rules": [rule]})
    until("the event", hook.told)
    assert hook.told() == [("LifecycleExpiration:Delete", "old")]


def test_a_crash_between_change_and_delivery_loses_nothing(told, hook):
    """Every acknowledged change is told after the server was killed, in order for each key, though its receiver was down before."""
    hook.status = 503
    c = told.client()
    tell(told, queue("s3:ObjectCreated:*", "s3:ObjectRemoved:*"))
    for number in range(40):
        c.put_object(Bucket="told", Key=f"k{number:02d}", Body=b"x")
    c.delete_object(Bucket="told", Key="k00")
    until("a first attempt", lambda: hook.attempts)
    told.kill()
    hook.status = 200
    told.start()
    until("all events", lambda: len(set(hook.told())) == 41)
    kinds = [kind for kind, key in hook.told() if key == "k00"]
    assert kinds[0] == "ObjectCreated:Put" and kinds[-1] == "ObjectRemoved:Delete"
    until("the last to be counted", lambda: "umbra_events_delivered_total 41" in told.metrics())


def test_a_receiver_that_fails_holds_up_no_other(told, hook):
    """One that refuses is tried again; the other is told meanwhile."""
    other = Hook()
    try:
        server = told
        server.stop()
        server.flags[server.flags.index(f"two={hook.url}/two")] = f"two={other.url}/"
        server.start()
        hook.status = 500
        tell(server, queue("s3:ObjectCreated:*", id="down"), queue("s3:ObjectRemoved:*", id="up", arn=OTHER))
        c = server.client()
        c.put_object(Bucket="told", Key="k", Body=b"x")
        c.delete_object(Bucket="told", Key="k")
        until("the other to be told", lambda: other.told() == [("ObjectRemoved:Delete", "k")])
        until("several attempts", lambda: hook.attempts >= 2)
        hook.status = 200
        until("it to be told", lambda: hook.told() == [("ObjectCreated:Put", "k")])
    finally:
        other.close()


def test_nobody_is_told_any_more_who_was_removed(told, hook):
    """What waits for a receiver that is taken out is dropped."""
    hook.status = 500
    c = told.client()
    tell(told, queue("s3:ObjectCreated:*"))
    c.put_object(Bucket="told", Key="before", Body=b"x")
    until("an attempt", lambda: hook.attempts)
    tell(told)
    c.put_object(Bucket="told", Key="between", Body=b"x")
    hook.status = 200
    tell(told, queue("s3:ObjectCreated:*", id="new"))
    c.put_object(Bucket="told", Key="after", Body=b"x")
    until("the new receiver", hook.told)
    assert hook.told() == [("ObjectCreated:Put", "after")]


def test_events_of_one_key_keep_their_order(told, hook):
    """However fast it changes, and though each change dates the object a little ahead of the clock."""
    c = told.client()
    tell(told, queue("s3:ObjectCreated:*", "s3:ObjectRemoved:*"))
    for _ in range(5):
        for _ in range(6):
            c.put_object(Bucket="told", Key="k", Body=b"x")
        c.delete_object(Bucket="told", Key="k")
    until("all events", lambda: len(hook.told()) >= 35)
    assert [kind for kind, _ in hook.told()] == (["ObjectCreated:Put"] * 6 + ["ObjectRemoved:Delete"]) * 5
    sequencers = [record["s3"]["object"]["sequencer"] for record in hook.records()]
    assert sequencers == sorted(set(sequencers)), "each is greater than the one before"


def test_slow_receivers_of_one_organization_do_not_starve_another(told, hook):
    """Somebody's receivers that never answer hold up no receiver of another organization's."""
    slow = Hook()
    slow.gate.clear()
    try:
        many = told.client()
        for number in range(80):
            made = f"slow-{number}"
            many.create_bucket(Bucket=made)
            assert patch(told, made, {"object_notifications": {"enabled": True, "web_hook": f"{slow.url}/"}}).status == 200
            many.put_object(Bucket=made, Key="k", Body=b"x")
        until("some that hang", lambda: slow.attempts)
        other = Org(told).client()
        other.create_bucket(Bucket="others")
        configuration = {"QueueConfigurations": [queue("s3:ObjectCreated:*")]}
        other.put_bucket_notification_configuration(Bucket="others", NotificationConfiguration=configuration)
        other.put_object(Bucket="others", Key="k", Body=b"x")
        until("the other to be told", hook.told)
        assert not slow.documents
    finally:
        slow.close()


def test_a_web_hook_the_operator_took_out_keeps_its_events_until_it_is_back(told, hook):
    """The server starts without it, the others are told, and what waits is told once it is set again."""
    c = told.client()
    hook.status = 500
    tell(told, queue("s3:ObjectCreated:*", id="one"), queue("s3:ObjectRemoved:*", id="two", arn=OTHER))
    c.put_object(Bucket="told", Key="k", Body=b"x")
    until("an attempt", lambda: hook.attempts)
    told.stop()
    at = told.flags.index(f"one={hook.url}/")
    flags = told.flags[at - 1 : at + 1]
    del told.flags[at - 1 : at + 1]
    hook.status = 200
    told.start()
    told.client().delete_object(Bucket="told", Key="k")
    until("the other to be told", lambda: hook.told("/two"))
    assert hook.told() == []
    told.stop()
    told.flags += flags
    told.start()
    until("it to be told", lambda: hook.told() == [("ObjectCreated:Put", "k")])


# -- what Tigris's clients set -----------------------------------------------------------------------------------------


def patch(server, bucket, document):
    body = json.dumps(document).encode()
    signer = raw.Signer(server.access_key, server.secret_key)
    signed = signer.headers(
        "PATCH", server.listen, f"/{bucket}", payload_hash=hashlib.sha256(body).hexdigest(), extra={"content-type": "application/json"}
    )
    signed["content-length"] = str(len(body))
    return raw.send(server.address, raw.request("PATCH", f"/{bucket}", signed, body))


@pytest.mark.parametrize(
    ("auth", "header"),
    [({"token": "t0ken"}, "Bearer t0ken"), ({"basic_user": "u", "basic_pass": "p"}, "Basic " + base64.b64encode(b"u:p").decode())],
)
def test_the_web_hook_of_tigris_clients(told, hook, auth, header):
    """Called with its secret, for what its filter lets pass, in Tigris's form."""
    c = told.client()
    settings = {"enabled": True, "web_hook": f"{hook.url}/tigris", "filter": 'WHERE `key` REGEXP "^images"', "auth": auth}
    assert patch(told, "told", {"object_notifications": settings}).status == 200
    c.put_object(Bucket="told", Key="other", Body=b"x")
    c.put_object(Bucket="told", Key="images/a", Body=b"xyz")
    c.delete_object(Bucket="told", Key="images/a")
    events = lambda: [event for _, document in hook.documents for event in document["events"]]
    until("both events", lambda: len(events()) == 2)
    assert [(e["eventName"], e["bucket"], e["object"]["key"]) for e in events()] == [
        ("OBJECT_CREATED_PUT", "told", "images/a"), ("OBJECT_DELETED", "told", "images/a"),
    ]
    assert events()[0]["object"]["size"] == 3
    assert {headers["authorization"] for headers in hook.headers} == {header}
    assert header.split()[1] not in told.all_text()
    bad = patch(told, "told", {"object_notifications": {**settings, "filter": "owner = 1"}})
    assert (bad.status, bad.code) == (400, "InvalidArgument") or b"InvalidArgument" in bad.body


def test_users_cannot_make_a_wide_server_call_into_private_networks(tmp_path, hook):
    """A server that listens on every address does not call loopback for a user; the operator's own web hooks it calls anywhere."""
    server = Umbra(tmp_path / "wide", "--webhook", f"one={hook.url}/")
    server.listen = "0.0.0.0:0"
    server.start()
    try:
        c = server.client()
        c.create_bucket(Bucket="told")
        assert patch(server, "told", {"object_notifications": {"enabled": True, "web_hook": f"{hook.url}/tigris"}}).status == 200
        tell(server, queue("s3:ObjectCreated:*"))
        c.put_object(Bucket="told", Key="k", Body=b"x")
        until("the operator's hook", hook.told)
        until("a refused call", lambda: "umbra_events_failed_posts_total 0" not in server.metrics())
        stays("no call for the user", lambda: not [path for path, _ in hook.documents if path == "/tigris"])
    finally:
        server.remove()


def test_a_bucket_that_tells_nobody_keeps_nothing(told, hook):
    """Without a configuration nothing waits: a receiver that is set later is told of what comes later only."""
    c = told.client()
    c.put_object(Bucket="told", Key="before", Body=b"x")
    tell(told, queue("s3:ObjectCreated:*"), bucket="told")
    made = name("quiet")
    c.create_bucket(Bucket=made)
    c.put_object(Bucket=made, Key="quiet", Body=b"x")
    c.put_object(Bucket="told", Key="after", Body=b"x")
    until("the event", hook.told)
    assert hook.told() == [("ObjectCreated:Put", "after")]


def test_a_kept_secret_goes_nowhere_else(told, hook):
    """Asterisks keep the secret for another path, and for no other server: there it is to be given anew."""
    other = Hook()
    try:
        settings = {"enabled": True, "web_hook": f"{hook.url}/a", "auth": {"token": "t0ken"}}
        assert patch(told, "told", {"object_notifications": settings}).status == 200
        kept = {**settings, "auth": {"token": "********"}}
        stolen = patch(told, "told", {"object_notifications": {**kept, "web_hook": f"{other.url}/a"}})
        assert stolen.status == 400 and b"InvalidArgument" in stolen.body
        assert patch(told, "told", {"object_notifications": {**kept, "web_hook": f"{hook.url}/b"}}).status == 200
        told.client().put_object(Bucket="told", Key="k", Body=b"x")
        until("the event", lambda: hook.documents)
        assert [path for path, _ in hook.documents] == ["/b"] and hook.headers[0]["authorization"] == "Bearer t0ken"
        assert not other.attempts
    finally:
        other.close()

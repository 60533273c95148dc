"""Bucket policies, what they open and close, and what is kept from becoming public."""

import json
import urllib.request

import pytest

from harness import clients
from harness.clients import read, refused
from harness.organizations import Org
from harness.shadowed import name


def statement(bucket, action, effect="Allow", principal="*", resource="/*", **more):
    resources = [f"arn:aws:s3:::{bucket}{part}" for part in ([resource] if isinstance(resource, str) else resource)]
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resources, **more}


def set_policy(client, bucket, *statements):
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    client.put_bucket_policy(Bucket=bucket, Policy=text)
    return text


def denied(call, **arguments):
    error = refused(call, **arguments)
    assert error.status == 403 and error.code in ("AccessDenied", "403"), error
    return error


def test_life_of_a_policy(owner, store):
    """Set, shown as it was given, removed."""
    assert refused(owner.get_bucket_policy, Bucket=store).code == "NoSuchBucketPolicy"
    text = set_policy(owner, store, statement(store, "s3:GetObject"))
    assert owner.get_bucket_policy(Bucket=store)["Policy"] == text
    assert owner.get_bucket_policy_status(Bucket=store)["PolicyStatus"]["IsPublic"] is True
    owner.delete_bucket_policy(Bucket=store)
    assert refused(owner.get_bucket_policy, Bucket=store).code == "NoSuchBucketPolicy"
    assert owner.get_bucket_policy_status(Bucket=store)["PolicyStatus"]["IsPublic"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Maybe"}, {"Principal": {"AWS": "arn:aws:s3:::x"}}, {"Action": "ec2:Run"}, {"Resource": "arn:aws:s3:::elsewhere/*"},
        {"Condition": {"StringSomehow": {"s3:prefix": "a"}}}, {"Condition": {"StringEquals": {"s3:no-such-key": "a"}}}, {"Sid": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_malformed_policies_are_refused(owner, store, change):
    """MalformedPolicy, and nothing is kept."""
    text = json.dumps({"Version": "2012-10-17", "Statement": {**statement(store, "s3:GetObject"), **change}})
    error = refused(owner.put_bucket_policy, Bucket=store, Policy=text)
    assert (error.status, error.code) == (400, "MalformedPolicy")
    assert refused(owner.get_bucket_policy, Bucket=store).code == "NoSuchBucketPolicy"


def test_a_policy_opens_what_it_names_and_nothing_else(umbra, owner, store, everyone, theirs):
    """Everyone reads one prefix; nobody lists, writes or reads the rest."""
    owner.put_object(Bucket=store, Key="open/k", Body=b"open")
    set_policy(owner, store, statement(store, "s3:GetObject", resource="/open/*"))
    stranger = theirs.client()
    for client in (everyone, stranger):
        assert read(client, store, "open/k") == b"open"
        denied(client.get_object, Bucket=store, Key="k")
        denied(client.list_objects_v2, Bucket=store)
        denied(client.put_object, Bucket=store, Key="open/k", Body=b"")
        denied(client.get_object_tagging, Bucket=store, Key="open/k")
        denied(client.get_bucket_policy, Bucket=store)
        denied(client.get_object, Bucket=store, Key="open/absent")
    with urllib.request.urlopen(f"{umbra.endpoint}/{store}/open/k") as answer:
        assert answer.read() == b"open"


def test_whoever_may_list_learns_that_a_key_is_absent(owner, store, everyone):
    """404 instead of 403, within the prefix that may be listed."""
    set_policy(
        owner, store,
        statement(store, "s3:ListBucket", resource="", Condition={"StringLike": {"s3:prefix": "open/*"}}),
        statement(store, "s3:GetObject", resource="/open/*"),
    )
    assert refused(everyone.get_object, Bucket=store, Key="open/absent").code == "NoSuchKey"
    denied(everyone.get_object, Bucket=store, Key="absent")
    denied(everyone.list_objects_v2, Bucket=store)
    assert everyone.list_objects_v2(Bucket=store, Prefix="open/a")["KeyCount"] == 0


def test_a_denial_wins_over_the_role(ours, owner, store):
    """The organization's own keys are denied too; but its administrators can take the policy back."""
    set_policy(owner, store, statement(store, "s3:*", "Deny", resource=["", "/*"]))
    for call, arguments in (
        (owner.get_object, {"Key": "k"}), (owner.list_objects_v2, {}), (owner.put_object, {"Key": "k"}), (owner.delete_bucket, {}), (owner.get_bucket_acl, {}),
    ):
        denied(call, Bucket=store, **arguments)
    editor = ours.client("editor")
    for call in (editor.get_bucket_policy, editor.delete_bucket_policy):
        denied(call, Bucket=store)
    assert "Deny" in owner.get_bucket_policy(Bucket=store)["Policy"]
    owner.delete_bucket_policy(Bucket=store)
    assert read(owner, store, "k") == b"content"


def test_an_organization_is_let_in_as_far_as_its_keys_go(owner, store, theirs, everyone):
    """A policy that names an organization: readers read, editors write, confined keys stay where they are."""
    set_policy(owner, store, statement(store, "s3:*", principal={"AWS": f"arn:aws:iam::{theirs.name}:root"}, resource=["", "/*"]))
    admin, editor, reader = (theirs.client(role) for role in ("admin", "editor", "reader"))
    elsewhere = name("elsewhere")
    admin.create_bucket(Bucket=elsewhere)
    confined = theirs.client("editor", elsewhere)
    for client in (admin, editor, reader):
        assert read(client, store, "k") == b"content"
    editor.put_object(Bucket=store, Key="new", Body=b"")
    denied(reader.put_object, Bucket=store, Key="new", Body=b"")
    denied(editor.get_bucket_cors, Bucket=store)
    assert admin.get_bucket_location(Bucket=store)
    for client in (confined, everyone):
        denied(client.get_object, Bucket=store, Key="k")
    assert store not in [bucket["Name"] for bucket in admin.list_buckets()["Buckets"]]
    # Named itself, a confined key is meant.
    set_policy(owner, store, statement(store, "s3:GetObject", principal={"AWS": f"arn:aws:iam::{theirs.name}:user/{confined.key_id}"}))
    assert read(confined, store, "k") == b"content"
    denied(reader.get_object, Bucket=store, Key="k")


def test_a_confined_key_of_the_owner_is_not_widened(ours, owner, store):
    """A key of one bucket has nothing of another's policy that names its organization."""
    other = name("other")
    owner.create_bucket(Bucket=other)
    confined = ours.client("admin", other)
    set_policy(owner, store, statement(store, "s3:*", principal={"AWS": ours.name}, resource=["", "/*"]))
    denied(confined.get_object, Bucket=store, Key="k")
    denied(confined.list_objects_v2, Bucket=store)


def test_conditions_on_the_request(owner, store, theirs):
    """Address, transport, referer, prefix, tags, ACLs and copy sources."""
    stranger = theirs.client()

    def opened(condition, action="s3:GetObject", resource="/*"):
        set_policy(owner, store, statement(store, action, principal={"AWS": theirs.name}, resource=resource, Condition=condition))

    opened({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}})
    assert read(stranger, store, "k") == b"content"
    opened({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}})
    denied(stranger.get_object, Bucket=store, Key="k")
    opened({"Bool": {"aws:SecureTransport": "true"}})
    denied(stranger.get_object, Bucket=store, Key="k")
    opened({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256", "s3:authType": "REST-HEADER", "aws:PrincipalAccount": theirs.name}})
    assert read(stranger, store, "k") == b"content"
    opened({"NumericLessThanEquals": {"s3:max-keys": "10"}}, "s3:ListBucket", "")
    assert stranger.list_objects_v2(Bucket=store, MaxKeys=10)["KeyCount"] == 1
    denied(stranger.list_objects_v2, Bucket=store, MaxKeys=11)
    denied(stranger.list_objects_v2, Bucket=store)
    opened({"StringEquals": {"s3:RequestObjectTag/a": "1"}}, ["s3:PutObject", "s3:PutObjectTagging"])
    stranger.put_object(Bucket=store, Key="t", Body=b"", Tagging="a=1&b=2")
    stranger.put_object_tagging(Bucket=store, Key="t", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    denied(stranger.put_object, Bucket=store, Key="t", Body=b"", Tagging="a=2")
    denied(stranger.put_object, Bucket=store, Key="t", Body=b"")
    denied(stranger.put_object_tagging, Bucket=store, Key="t", Tagging={"TagSet": [{"Key": "a", "Value": "2"}]})
    opened({"StringLike": {"s3:x-amz-copy-source": f"{store}/k*"}}, ["s3:PutObject"])
    owner.put_object_acl(Bucket=store, Key="k", GrantRead=f"id={theirs.name}")
    stranger.copy_object(Bucket=store, Key="copy", CopySource=f"/{store}/k")
    denied(stranger.copy_object, Bucket=store, Key="copy", CopySource=f"/{store}/t")
    denied(stranger.put_object, Bucket=store, Key="copy", Body=b"")


def test_conditions_on_existing_tags(owner, store, everyone):
    """What may be read is said by the object's tags, as they are now."""
    set_policy(owner, store, statement(store, "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}))
    denied(everyone.get_object, Bucket=store, Key="k")
    owner.put_object_tagging(Bucket=store, Key="k", Tagging={"TagSet": [{"Key": "open", "Value": "yes"}]})
    assert read(everyone, store, "k") == b"content"
    owner.delete_object_tagging(Bucket=store, Key="k")
    denied(everyone.get_object, Bucket=store, Key="k")


def test_tags_of_cold_objects(pair, umbra, everyone):
    """Of a cold object the origin tells the tags; without a condition on tags nobody is asked, and nothing moves before it is allowed."""
    for key, tag in (("open", "yes"), ("shut", "no")):
        pair.there.put_object(Bucket=pair.origin_name, Key=key, Body=key.encode(), Tagging=f"open={tag}")
    pair.create()
    root = umbra.client()
    set_policy(root, pair.name, statement(pair.name, "s3:GetObject", resource="/elsewhere/*"))
    seen = pair.proxy.count()
    denied(everyone.get_object, Bucket=pair.name, Key="open")
    assert pair.proxy.count() == seen
    set_policy(root, pair.name, statement(pair.name, "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/open": "yes"}}))
    denied(everyone.get_object, Bucket=pair.name, Key="shut")
    assert pair.proxy.count() > seen
    assert not [one for one in pair.proxy.seen(key="shut") if one.moved], "what may not be read is not brought in"
    assert read(everyone, pair.name, "open") == b"open"


def test_moves_need_the_right_to_delete(umbra, owner, store, theirs):
    """A move is a copy and a delete."""
    stranger = theirs.client()
    stranger.meta.events.register("before-sign.s3.CopyObject", lambda request, **_: request.headers.add_header("x-tigris-rename", "true"))
    actions = ["s3:GetObject", "s3:PutObject"]
    owner.put_object_acl(Bucket=store, Key="k", GrantRead=f"id={theirs.name}", GrantFullControl=f"id={owner.get_bucket_acl(Bucket=store)['Owner']['ID']}")
    set_policy(owner, store, statement(store, actions, principal={"AWS": theirs.name}))
    denied(stranger.copy_object, Bucket=store, Key="moved", CopySource=f"{store}/k")
    assert read(owner, store, "k") == b"content"
    set_policy(owner, store, statement(store, [*actions, "s3:DeleteObject"], principal={"AWS": theirs.name}))
    stranger.copy_object(Bucket=store, Key="moved", CopySource=f"{store}/k")
    assert refused(owner.head_object, Bucket=store, Key="k").status == 404


def test_writes_need_what_comes_with_them(owner, store, theirs):
    """s3:PutObject alone opens no object to others and tags none; deletes are judged key by key."""
    stranger = theirs.client()
    set_policy(owner, store, statement(store, ["s3:PutObject", "s3:DeleteObject"], principal={"AWS": theirs.name}, resource="/in/*"))
    stranger.put_object(Bucket=store, Key="in/a", Body=b"a")
    stranger.put_object(Bucket=store, Key="in/b", Body=b"b", ACL="bucket-owner-full-control")
    denied(stranger.put_object, Bucket=store, Key="in/c", Body=b"c", ACL="public-read")
    denied(stranger.put_object, Bucket=store, Key="in/c", Body=b"c", Tagging="a=1")
    denied(stranger.put_object, Bucket=store, Key="out", Body=b"c")
    gone = stranger.delete_objects(Bucket=store, Delete={"Objects": [{"Key": "in/a"}, {"Key": "k"}]})
    assert [one["Key"] for one in gone["Deleted"]] == ["in/a"] and [(one["Key"], one["Code"]) for one in gone["Errors"]] == [("k", "AccessDenied")]
    assert read(owner, store, "k") == b"content" and read(owner, store, "in/b") == b"b"


def test_a_form_is_judged_by_its_fields(umbra, owner, store, everyone):
    """A browser's upload: the key and the ACL in the form are what the policy is held against."""
    import requests

    set_policy(
        owner, store,
        statement(store, ["s3:PutObject", "s3:PutObjectAcl"], resource="/in/*"),
        statement(store, "s3:PutObject", "Deny", Condition={"StringLike": {"s3:x-amz-acl": "public*"}}),
    )

    def post(key, **fields):
        return requests.post(f"{umbra.endpoint}/{store}", data={"key": key, **fields}, files={"file": ("f", b"form")}).status_code

    assert post("in/a") == 204 and post("out") == 403 and post("in/b", acl="public-read") == 403
    assert read(owner, store, "in/a") == b"form"
    assert refused(owner.get_object, Bucket=store, Key="in/b").code == "NoSuchKey"


def test_public_access_block(owner, store, everyone):
    """Four switches: refuse and ignore what would make public, by ACL and by policy."""
    assert refused(owner.get_public_access_block, Bucket=store).code == "NoSuchPublicAccessBlockConfiguration"

    def block(**switches):
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        wanted = {one: switches.get(one, False) for one in names}
        owner.put_public_access_block(Bucket=store, PublicAccessBlockConfiguration=wanted)
        assert owner.get_public_access_block(Bucket=store)["PublicAccessBlockConfiguration"] == wanted

    owner.put_bucket_acl(Bucket=store, ACL="public-read")
    assert everyone.list_objects_v2(Bucket=store)["KeyCount"] == 1
    block(IgnorePublicAcls=True)
    denied(everyone.list_objects_v2, Bucket=store)
    owner.put_bucket_acl(Bucket=store, ACL="private")
    block(BlockPublicAcls=True)
    denied(owner.put_bucket_acl, Bucket=store, ACL="public-read")
    denied(owner.put_object_acl, Bucket=store, Key="k", ACL="authenticated-read")
    denied(owner.put_object, Bucket=store, Key="k", ACL="public-read-write")
    owner.put_object(Bucket=store, Key="k", Body=b"content", ACL="private")
    text = set_policy(owner, store, statement(store, "s3:GetObject"))
    assert read(everyone, store, "k") == b"content"
    block(RestrictPublicBuckets=True)
    denied(everyone.get_object, Bucket=store, Key="k")
    assert read(owner, store, "k") == b"content"
    block(BlockPublicPolicy=True)
    denied(owner.put_bucket_policy, Bucket=store, Policy=text)
    set_policy(owner, store, statement(store, "s3:GetObject", principal={"AWS": "some-org"}))
    owner.delete_public_access_block(Bucket=store)
    assert refused(owner.get_public_access_block, Bucket=store).code == "NoSuchPublicAccessBlockConfiguration"


def test_policies_survive_a_restart(own_umbra):
    """What was set is durable, and holds from the first request on."""
    org = Org(own_umbra)
    owner, bucket = org.client(), name("kept")
    owner.create_bucket(Bucket=bucket)
    owner.put_object(Bucket=bucket, Key="k", Body=b"content", ACL="public-read")
    text = set_policy(owner, bucket, statement(bucket, "s3:GetObject", "Deny"))
    own_umbra.restart(kill=True)
    denied(owner.get_object, Bucket=bucket, Key="k")
    assert owner.get_bucket_policy(Bucket=bucket)["Policy"] == text
    owner.delete_bucket_policy(Bucket=bucket)
    assert read(clients.anonymous(own_umbra.endpoint), bucket, "k") == b"content"

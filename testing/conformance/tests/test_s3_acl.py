"""ACLs of buckets and objects, and who owns what others write."""

import json

import pytest

from harness.clients import put_multipart, read, refused
from harness.data import MIB, content
from harness.shadowed import name

EVERYONE = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture
def stranger(theirs):
    return theirs.client()


def denied(call, **arguments):
    error = refused(call, **arguments)
    assert error.status == 403 and error.code in ("AccessDenied", "403"), error


def grants(answer):
    """Who has what, of an answer with an ACL."""
    return [(grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"]) for grant in answer["Grants"]]


def test_nothing_is_public_unless_it_is_said(ours, owner, store, stranger, everyone):
    """A fresh bucket and what is in it are its owner's alone."""
    for client in (stranger, everyone):
        for call, arguments in (
            (client.get_object, {"Key": "k"}), (client.head_object, {"Key": "k"}), (client.get_object, {"Key": "absent"}), (client.list_objects_v2, {}),
            (client.list_objects, {}), (client.list_object_versions, {}), (client.list_multipart_uploads, {}), (client.head_bucket, {}),
            (client.get_bucket_acl, {}), (client.get_object_acl, {"Key": "k"}), (client.put_object, {"Key": "k", "Body": b""}),
            (client.put_object_acl, {"Key": "k", "ACL": "public-read"}), (client.put_bucket_acl, {"ACL": "public-read"}),
            (client.delete_object, {"Key": "k"}), (client.delete_bucket, {}), (client.get_object_tagging, {"Key": "k"}),
            (client.create_multipart_upload, {"Key": "k"}), (client.get_bucket_cors, {}),
        ):
            denied(call, Bucket=store, **arguments)
    for answer in (owner.get_bucket_acl(Bucket=store), owner.get_object_acl(Bucket=store, Key="k")):
        assert answer["Owner"] == {"ID": ours.name, "DisplayName": ours.name} and grants(answer) == [(ours.name, "FULL_CONTROL")]
    assert everyone.list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    "canned, reads, lists, writes",
    [("private", "", "", ""), ("public-read", "ae", "ae", ""), ("public-read-write", "ae", "ae", "ae"), ("authenticated-read", "a", "a", "")],
)
def test_canned_acls(owner, store, stranger, everyone, canned, reads, lists, writes):
    """What each opens, to whom with a key (a) and to everyone (e): lists and writes by the bucket's, reads by the object's."""
    owner.put_bucket_acl(Bucket=store, ACL=canned)
    owner.put_object(Bucket=store, Key="own", Body=b"own", ACL=canned)
    for client, who in ((stranger, "a"), (everyone, "e")):
        if who in lists:
            assert client.list_objects_v2(Bucket=store)["KeyCount"] == 2
            client.head_bucket(Bucket=store)
        else:
            denied(client.list_objects_v2, Bucket=store)
        if who in reads:
            assert read(client, store, "own") == b"own"
        else:
            denied(client.get_object, Bucket=store, Key="own")
        denied(client.get_object, Bucket=store, Key="k")
        denied(client.get_object_acl, Bucket=store, Key="own")
    for client, who in ((stranger, "a"), (everyone, "e")):
        if who in writes:
            client.put_object(Bucket=store, Key=f"new-{who}", Body=b"new")
            client.delete_object(Bucket=store, Key=f"new-{who}")
        else:
            denied(client.put_object, Bucket=store, Key=f"new-{who}", Body=b"new")
            denied(client.delete_object, Bucket=store, Key="own")


def test_grants_of_a_bucket(owner, ours, theirs, store):
    """Each right is that right alone, and goes as far as the role of a key."""
    admin, reader = theirs.client(), theirs.client("reader")

    def granted(**headers):
        owner.put_bucket_acl(Bucket=store, GrantFullControl=f"id={ours.name}", **headers)

    granted(GrantRead=f'id="{theirs.name}"')
    assert admin.list_objects_v2(Bucket=store)["KeyCount"] == reader.list_objects_v2(Bucket=store)["KeyCount"] == 1
    denied(admin.put_object, Bucket=store, Key="k", Body=b"")
    denied(admin.get_bucket_acl, Bucket=store)
    granted(GrantWrite=f"id={theirs.name}")
    admin.put_object(Bucket=store, Key="theirs", Body=b"")
    denied(reader.put_object, Bucket=store, Key="theirs", Body=b"")
    denied(admin.list_objects_v2, Bucket=store)
    granted(GrantReadACP=f"id={theirs.name}")
    assert grants(admin.get_bucket_acl(Bucket=store)) == [(theirs.name, "READ_ACP"), (ours.name, "FULL_CONTROL")]
    denied(admin.put_bucket_acl, Bucket=store, ACL="private")
    granted(GrantWriteACP=f"id={theirs.name}")
    denied(admin.get_bucket_acl, Bucket=store)
    admin.put_bucket_acl(Bucket=store, ACL="public-read")
    assert grants(owner.get_bucket_acl(Bucket=store)) == [(EVERYONE, "READ"), (ours.name, "FULL_CONTROL")]


def test_grants_of_an_object(owner, ours, stranger, theirs, store, everyone):
    """By document and by header; the owner stays who it was."""
    acl = owner.get_object_acl(Bucket=store, Key="k")
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": theirs.name}, "Permission": "FULL_CONTROL"}
    owner.put_object_acl(Bucket=store, Key="k", AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"] + [grant]})
    assert read(stranger, store, "k") == b"content"
    modified = owner.head_object(Bucket=store, Key="k")["LastModified"]
    policy = {"Owner": acl["Owner"], "Grants": [{"Grantee": {"Type": "Group", "URI": AUTHENTICATED}, "Permission": "READ"}]}
    stranger.put_object_acl(Bucket=store, Key="k", AccessControlPolicy=policy)
    answer = owner.get_object_acl(Bucket=store, Key="k")
    assert answer["Owner"]["ID"] == ours.name and grants(answer) == [(AUTHENTICATED, "READ")]
    assert owner.head_object(Bucket=store, Key="k")["LastModified"] == modified
    denied(stranger.put_object_acl, Bucket=store, Key="k", ACL="private")
    denied(everyone.get_object, Bucket=store, Key="k")
    foreign = {"Owner": {"ID": theirs.name}, "Grants": [grant]}
    denied(owner.put_object_acl, Bucket=store, Key="k", AccessControlPolicy=foreign)
    owner.put_object(Bucket=store, Key="k", Body=b"anew")
    denied(stranger.get_object, Bucket=store, Key="k")


@pytest.mark.parametrize(
    "arguments, code",
    [
        (dict(ACL="world-readable"), "InvalidArgument"), (dict(GrantRead="id=nobody-at-all"), "InvalidArgument"), (dict(GrantRead="somebody"), "InvalidArgument"),
        (dict(GrantRead='uri="http://acs.amazonaws.com/groups/global/Martians"'), "InvalidArgument"), (dict(ACL="private", GrantRead=f'uri="{EVERYONE}"'), "InvalidRequest"),
        (dict(GrantRead='emailAddress="a@example.com"'), "UnresolvableGrantByEmailAddress"), ({}, "MissingSecurityHeader"),
        (dict(GrantRead=", ".join([f'uri="{EVERYONE}"'] * 101)), "MalformedACLError"),
    ],
)
def test_what_is_no_acl_is_refused(owner, ours, store, arguments, code):
    """And changes nothing."""
    for call, where in ((owner.put_bucket_acl, {}), (owner.put_object_acl, {"Key": "k"})):
        error = refused(call, Bucket=store, **where, **arguments)
        assert (error.status, error.code) == (400, code), error
    assert grants(owner.get_bucket_acl(Bucket=store)) == grants(owner.get_object_acl(Bucket=store, Key="k")) == [(ours.name, "FULL_CONTROL")]


def test_who_writes_an_object_owns_it(owner, ours, stranger, theirs, store, everyone):
    """ObjectWriter: the bucket's owner lists and deletes what it may not read, unless it is let in."""
    owner.put_bucket_acl(Bucket=store, ACL="public-read-write")
    stranger.put_object(Bucket=store, Key="theirs", Body=b"theirs")
    assert stranger.get_object_acl(Bucket=store, Key="theirs")["Owner"]["ID"] == theirs.name
    assert read(stranger, store, "theirs") == b"theirs"
    for call in (owner.get_object, owner.head_object, owner.get_object_acl):
        denied(call, Bucket=store, Key="theirs")
    denied(owner.put_object_acl, Bucket=store, Key="theirs", ACL="public-read")
    denied(owner.copy_object, Bucket=store, Key="copy", CopySource=f"{store}/theirs")
    # Nor does a policy of the bucket's open it.
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{store}/*"}
    owner.put_bucket_policy(Bucket=store, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert read(everyone, store, "k") == b"content"
    denied(everyone.get_object, Bucket=store, Key="theirs")
    owner.delete_bucket_policy(Bucket=store)
    stranger.put_object(Bucket=store, Key="shared", Body=b"shared", ACL="bucket-owner-read")
    assert read(owner, store, "shared") == b"shared"
    denied(owner.get_object_acl, Bucket=store, Key="shared")
    everyone.put_object(Bucket=store, Key="anonymous", Body=b"anonymous")
    assert owner.get_object_acl(Bucket=store, Key="anonymous")["Owner"]["ID"] == ours.name
    put_multipart(stranger, store, "parts", [content(5 * MIB), b"x"])
    denied(owner.head_object, Bucket=store, Key="parts")
    # Enforced, all of it is the bucket owner's.
    owner.put_bucket_acl(Bucket=store, ACL="private")
    owner.put_bucket_ownership_controls(Bucket=store, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    assert read(owner, store, "theirs") == b"theirs" and owner.get_object_acl(Bucket=store, Key="parts")["Owner"]["ID"] == ours.name
    denied(stranger.get_object, Bucket=store, Key="theirs")
    owner.delete_object(Bucket=store, Key="theirs")


def test_ownership_controls(owner, ours, stranger, theirs):
    """Enforced refuses ACLs; preferred takes what is given up; removed, the writer owns again."""
    store = name("owned")
    owner.create_bucket(Bucket=store, ObjectOwnership="BucketOwnerEnforced")
    for call, arguments in ((owner.put_object, {"Key": "k", "ACL": "private"}), (owner.put_bucket_acl, {"ACL": "private"}), (owner.put_object, {"Key": "k", "GrantRead": f"id={theirs.name}"})):
        error = refused(call, Bucket=store, **arguments)
        assert (error.status, error.code) == (400, "AccessControlListNotSupported")
    owner.put_object(Bucket=store, Key="k", ACL="bucket-owner-full-control")

    def owned_by(rule):
        owner.put_bucket_ownership_controls(Bucket=store, OwnershipControls={"Rules": [{"ObjectOwnership": rule}]})
        assert owner.get_bucket_ownership_controls(Bucket=store)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": rule}]

    owned_by("BucketOwnerPreferred")
    owner.put_bucket_acl(Bucket=store, ACL="public-read-write")
    stranger.put_object(Bucket=store, Key="given", Body=b"", ACL="bucket-owner-full-control")
    assert owner.get_object_acl(Bucket=store, Key="given")["Owner"]["ID"] == ours.name
    stranger.put_object(Bucket=store, Key="kept", Body=b"")
    denied(owner.get_object_acl, Bucket=store, Key="kept")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    error = refused(owner.put_bucket_ownership_controls, Bucket=store, OwnershipControls=enforced)
    assert (error.status, error.code) == (400, "InvalidBucketAclWithObjectOwnership")
    owner.delete_bucket_ownership_controls(Bucket=store)
    assert refused(owner.get_bucket_ownership_controls, Bucket=store).code == "OwnershipControlsNotFoundError"
    error = refused(owner.create_bucket, Bucket=name("owned"), ACL="public-read", ObjectOwnership="BucketOwnerEnforced")
    assert (error.status, error.code) == (400, "InvalidBucketAclWithObjectOwnership")


def test_a_public_bucket_of_ours(umbra, owner, everyone):
    """`--public` opens objects and not the list, but for those with an ACL of their own; it is shown as public-read, and an ACL ends it."""
    store = name("public")
    made = umbra.storage("create", "-n", store, "-o", "tests", "--public", "-y").values()
    client = umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
    client.put_object(Bucket=store, Key="k", Body=b"x")
    client.put_object(Bucket=store, Key="own", Body=b"x", ACL="private")
    put_multipart(client, store, "parts", [b"x"], ACL="private")
    root = umbra.client()
    assert grants(root.get_bucket_acl(Bucket=store)) == [(EVERYONE, "READ"), ("tests", "FULL_CONTROL")]
    assert read(everyone, store, "k") == b"x"
    denied(everyone.list_objects_v2, Bucket=store)
    denied(everyone.get_object, Bucket=store, Key="absent")
    for key in ("own", "parts"):
        denied(everyone.get_object, Bucket=store, Key=key)
        assert read(client, store, key) == b"x" and grants(root.get_object_acl(Bucket=store, Key=key)) == [("tests", "FULL_CONTROL")]
    root.put_object_acl(Bucket=store, Key="own", ACL="public-read")
    assert read(everyone, store, "own") == b"x"
    root.put_object_acl(Bucket=store, Key="own", ACL="private")
    denied(everyone.get_object, Bucket=store, Key="own")
    root.put_bucket_acl(Bucket=store, ACL="private")
    denied(everyone.get_object, Bucket=store, Key="k")
    root.put_bucket_acl(Bucket=store, ACL="public-read")
    assert everyone.list_objects_v2(Bucket=store)["KeyCount"] == 3
    umbra.storage("update", store, "--private")
    denied(everyone.list_objects_v2, Bucket=store)
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
    root.put_public_access_block(Bucket=store, PublicAccessBlockConfiguration=block)
    assert "public access block" in umbra.storage("update", store, "--public", check=False).err


def test_expected_owners(owner, ours, theirs, store):
    """A bucket of somebody else's is not mistaken for one's own."""
    assert read(owner, store, "k", ExpectedBucketOwner=ours.name) == b"content"
    denied(owner.get_object, Bucket=store, Key="k", ExpectedBucketOwner=theirs.name)
    denied(owner.copy_object, Bucket=store, Key="c", CopySource=f"{store}/k", ExpectedSourceBucketOwner=theirs.name)
    owner.copy_object(Bucket=store, Key="c", CopySource=f"{store}/k", ExpectedSourceBucketOwner=ours.name, RequestPayer="requester")


def test_acls_of_cold_objects(pair, umbra, everyone, theirs):
    """An ACL is ours alone: it brings the object here, is never asked of the origin, and everything without one is private."""
    pair.there.put_object(Bucket=pair.origin_name, Key="cold", Body=b"cold")
    pair.there.put_object(Bucket=pair.origin_name, Key="other", Body=b"other")
    pair.create()
    seen = pair.proxy.count()
    denied(everyone.get_object, Bucket=pair.name, Key="cold")
    denied(theirs.client().head_object, Bucket=pair.name, Key="cold")
    assert pair.proxy.count() == seen, "who may not read costs the origin nothing"
    root = umbra.client()
    assert grants(root.get_object_acl(Bucket=pair.name, Key="cold")) == [(pair.org, "FULL_CONTROL")]
    root.put_object_acl(Bucket=pair.name, Key="cold", ACL="public-read")
    assert read(everyone, pair.name, "cold") == b"cold"
    denied(everyone.get_object, Bucket=pair.name, Key="other")
    assert read(pair.there, pair.origin_name, "cold") == b"cold"

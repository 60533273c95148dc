"""What is judged is what is done: ways round a policy or an ACL that must stay shut."""

import json
from base64 import b64encode
from hashlib import md5

import pytest

from harness import clients
from harness.clients import read, refused
from harness.organizations import Org
from harness.raw import Wire


@pytest.fixture
def stranger(umbra):
    """A client of another organization, with its key and the organization's name."""
    org = Org(umbra, "theirs")
    key_id, secret = org.key()
    client = clients.s3(umbra.endpoint, key_id, secret)
    client.org, client.secret, client.key_id = org.name, secret, key_id
    return client


def statement(bucket, action, effect="Allow", principal="*", resource="/*", **more):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": f"arn:aws:s3:::{bucket}{resource}", **more}


def set_policy(client, bucket, *statements):
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def signed(umbra, bucket, client, method, path, query="", body=b"", **headers):
    """A request of `client`'s, signed by hand."""
    wire = Wire(umbra, bucket)
    credentials = client._request_signer._credentials
    signer = wire.signer(access_key=credentials.access_key, secret_key=credentials.secret_key)
    extra = {header.replace("_", "-"): value for header, value in headers.items()}
    return wire.call(method, path, query, body, signer=signer, extra=extra)


def test_a_rename_deletes_so_it_needs_the_right_to(umbra, owner, stranger, store):
    """s3:GetObject and s3:PutObject copy; the source goes only with s3:DeleteObject, and nothing is copied without."""
    principal = {"AWS": stranger.org}
    set_policy(owner, store, statement(store, ["s3:GetObject", "s3:PutObject"], principal=principal))

    def rename():
        return signed(umbra, store, stranger, "PUT", "/BUCKET/moved", x_amz_copy_source=f"/{store}/k", x_tigris_rename="true")

    answer = rename()
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer
    assert read(owner, store, "k") == b"content" and refused(owner.get_object, Bucket=store, Key="moved").status == 404
    set_policy(owner, store, statement(store, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], principal=principal))
    assert rename().status == 200
    assert read(stranger, store, "moved") == b"content" and refused(owner.get_object, Bucket=store, Key="k").status == 404


def test_no_policy_gives_away_all_objects_at_once(umbra, owner, stranger, store):
    """s3:DeleteBucket deletes an empty bucket; by force it is the administrators' alone, and not where deletes are denied."""

    def force(client):
        return signed(umbra, store, client, "DELETE", "/BUCKET", tigris_force_delete="true")

    set_policy(owner, store, statement(store, "s3:*", principal={"AWS": stranger.org}, resource=""))
    assert force(stranger).status == 403
    for resource in ("/*", "/k", "*"):
        set_policy(owner, store, statement(store, "s3:DeleteObject", "Deny", resource=resource))
        assert force(owner).status == 403, resource
    assert read(owner, store, "k") == b"content"
    set_policy(owner, store, statement(store, "s3:DeleteObject", "Deny", principal={"AWS": stranger.org}))
    assert force(owner).status == 204
    assert refused(owner.get_object, Bucket=store, Key="k").status == 404


def test_parameters_have_one_spelling(umbra, owner, stranger, store):
    """A condition on the prefix is met by no other spelling of it, and by no second one."""
    condition = {"StringEquals": {"s3:prefix": "open/"}}
    set_policy(owner, store, statement(store, "s3:ListBucket", principal={"AWS": stranger.org}, resource="", Condition=condition))
    assert signed(umbra, store, stranger, "GET", "/BUCKET", "list-type=2&prefix=open%2F").status == 200
    for query in ("Prefix=open%2F", "list-type=2&PREFIX=open%2F", "prefix=open%2F&prefix=", "list-type=2&prefix=open%2F&%70refix="):
        answer = signed(umbra, store, stranger, "GET", "/BUCKET", query)
        assert (answer.status, answer.code) == (400, "InvalidArgument"), (query, answer)
    answer = signed(umbra, store, owner, "DELETE", "/BUCKET", "Tagging=")
    assert (answer.status, answer.code) == (400, "InvalidArgument"), "it would delete the bucket"


def test_what_stands_for_a_header_is_said_once(umbra, owner, stranger, store):
    """The tags that are judged are those that are kept."""
    condition = {"StringEquals": {"s3:RequestObjectTag/a": "1"}}
    principal = {"AWS": stranger.org}
    set_policy(owner, store, statement(store, ["s3:PutObject", "s3:PutObjectTagging"], principal=principal, Condition=condition))
    assert signed(umbra, store, stranger, "PUT", "/BUCKET/t", "x-amz-tagging=a%3D1").status == 200
    for query, headers in (
        ("x-amz-tagging=a%3D1&x-amz-tagging=a%3D2", {}), ("X-Amz-Tagging=a%3D1&x-amz-tagging=a%3D2", {}),
        ("x-amz-tagging=a%3D2", {"x_amz_tagging": "a=1"}),
    ):
        assert signed(umbra, store, stranger, "PUT", "/BUCKET/t", query, **headers).status == 400, query
    assert owner.get_object_tagging(Bucket=store, Key="t")["TagSet"] == [{"Key": "a", "Value": "1"}]


def test_nobody_unsigned_overrides_headers(umbra, owner, store):
    """Not by an escaped name either."""
    import requests

    owner.put_object_acl(Bucket=store, Key="k", ACL="public-read")
    url = f"{umbra.endpoint}/{store}/k"
    assert requests.get(url).content == b"content"
    for query in ("response-content-type=text%2Fhtml", "%72esponse-content-type=text%2Fhtml", "response%2Dcontent-type=text%2Fhtml"):
        answer = requests.get(f"{url}?{query}")
        assert answer.status_code == 400 and "InvalidRequest" in answer.text, query


def test_an_expected_owner_counts_in_a_presigned_url_too(umbra, ours, owner, store):
    """Some SDKs sign the header into the query."""
    import requests

    def get(expected):
        arguments = {"Bucket": store, "Key": "k"}
        add = lambda request, **_: request.params.update({"x-amz-expected-bucket-owner": expected})
        owner.meta.events.register_first("before-sign.s3.GetObject", lambda request, **_: None)
        owner.meta.events.register("before-sign.s3.GetObject", add, unique_id="owner")
        url = owner.generate_presigned_url("get_object", Params=arguments)
        owner.meta.events.unregister("before-sign.s3.GetObject", unique_id="owner")
        assert "expected-bucket-owner" in url
        return requests.get(url).status_code

    assert get(ours.name) == 200 and get("somebody-else") == 403


def test_a_form_is_judged_by_the_request_around_it(umbra, ours, owner, store):
    """Who refers to it, and whose bucket is expected."""
    import requests

    set_policy(owner, store, statement(store, "s3:PutObject", Condition={"StringLike": {"aws:Referer": "https://a.example/*"}}))

    def post(**headers):
        fields = {"key": "form"}
        return requests.post(f"{umbra.endpoint}/{store}", data=fields, files={"file": ("f", b"form")}, headers=headers).status_code

    assert post() == 403 and post(Referer="https://b.example/") == 403
    assert post(Referer="https://a.example/page") == 204
    referer = {"Referer": "https://a.example/page"}
    assert post(**referer, **{"x-amz-expected-bucket-owner": "somebody-else"}) == 403
    assert post(**referer, **{"x-amz-expected-bucket-owner": ours.name}) == 204


def test_policies_say_nothing_twice(owner, store):
    """The first of two members would be lost, and with it what it denies."""
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement(store, "s3:GetObject", "Deny")]})
    error = refused(owner.put_bucket_policy, Bucket=store, Policy=text.replace('"Effect"', '"Effect": "Deny", "Effect"'))
    assert (error.status, error.code) == (400, "MalformedPolicy")


def patch(umbra, bucket, client, document=None, **headers):
    """A change of settings in Tigris's way."""
    body = json.dumps(document or {}).encode()
    return signed(umbra, bucket, client, "PATCH", "/BUCKET", body=body, content_type="application/json", **headers).status


def test_tigris_settings_obey_the_policy_and_the_block(umbra, owner, store, everyone):
    """What is denied in S3's way is denied in theirs, and what is kept from becoming public stays so."""
    cors = {"cors": None}
    changes = {
        "s3:PutBucketAcl": ({}, {"x_amz_acl": "public-read"}), "s3:PutBucketCORS": (cors, {}),
        "s3:PutLifecycleConfiguration": ({"storage_class": "GLACIER"}, {}), "s3:PutBucketWebsite": ({"cache_control": "no-store"}, {}),
    }
    for action, (document, headers) in changes.items():
        set_policy(owner, store, statement(store, action, "Deny", resource=""))
        assert patch(umbra, store, owner, document, **headers) == 403, action
    for action in ("s3:GetBucketAcl", "s3:ListBucket"):
        set_policy(owner, store, statement(store, action, "Deny", resource=""))
        assert signed(umbra, store, owner, "GET", "/BUCKET", "metadata=").status == 403
    owner.delete_bucket_policy(Bucket=store)
    assert signed(umbra, store, owner, "GET", "/BUCKET", "metadata=").status == 200
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
    owner.put_public_access_block(Bucket=store, PublicAccessBlockConfiguration=block)
    assert patch(umbra, store, owner, x_amz_acl="public-read") == 403 and patch(umbra, store, owner, x_amz_acl="private") == 200
    owner.delete_public_access_block(Bucket=store)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    owner.put_bucket_ownership_controls(Bucket=store, OwnershipControls=enforced)
    assert patch(umbra, store, owner, x_amz_acl="public-read") == 403
    assert refused(everyone.get_object, Bucket=store, Key="k").status == 403
    owner.delete_bucket_ownership_controls(Bucket=store)
    assert patch(umbra, store, owner, x_amz_acl="public-read") == 200
    assert read(everyone, store, "k") == b"content"


def test_acls_and_restores_ask_for_no_key(umbra, owner, store):
    """The key of a client opens the content; what is recorded is seen and changed without."""
    put = signed(
        umbra, store, owner, "PUT", "/BUCKET/sealed", body=b"sealed", x_amz_server_side_encryption_customer_algorithm="AES256",
        x_amz_server_side_encryption_customer_key=b64encode(b"k" * 32).decode(), x_amz_server_side_encryption_customer_key_md5=b64encode(md5(b"k" * 32).digest()).decode(),
        x_amz_storage_class="GLACIER",
    )
    assert put.status == 200, put
    assert owner.get_object_acl(Bucket=store, Key="sealed")["Grants"]
    owner.put_object_acl(Bucket=store, Key="sealed", ACL="public-read")
    owner.restore_object(Bucket=store, Key="sealed", RestoreRequest={"Days": 1})
    assert refused(owner.head_object, Bucket=store, Key="sealed").status == 400

"""The small sub-resources of a bucket: tags, request payment, acceleration, website, logging, and those that no bucket has."""

import pytest

from harness.clients import refused
from harness.shadowed import name


def tags(*pairs):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in pairs]}


def test_bucket_tags(c, bucket):
    """Set, replaced, removed; up to fifty, each as S3 wants it."""
    assert refused(c.get_bucket_tagging, Bucket=bucket).code == "NoSuchTagSet"
    fifty = [(f"key-{number:02d}", "é @+-=._:/" if number else "") for number in range(50)]
    c.put_bucket_tagging(Bucket=bucket, Tagging=tags(*fifty))
    assert c.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(*fifty)["TagSet"]
    for bad in ([*fifty, ("more", "")], [("a", "1"), ("a", "2")], [("a" * 129, "")], [("a", "b" * 257)], [("a", "<b>")], [("aws:a", "")]):
        error = refused(c.put_bucket_tagging, Bucket=bucket, Tagging=tags(*bad))
        assert (error.status, error.code) == (400, "InvalidTag"), bad
    c.put_bucket_tagging(Bucket=bucket, Tagging=tags(("b", "2"), ("a", "1")))
    assert c.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(("a", "1"), ("b", "2"))["TagSet"]
    c.delete_bucket_tagging(Bucket=bucket)
    assert refused(c.get_bucket_tagging, Bucket=bucket).code == "NoSuchTagSet"


def test_object_tags_are_what_s3_takes(c, bucket):
    """The limits of an object's tags, in a document and in a header."""
    longest = tags(("k" * 128, "v" * 256), *((f"k{n}", "é 1_.:/=+-@") for n in range(9)))
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    c.put_object_tagging(Bucket=bucket, Key="k", Tagging=longest)
    assert sorted(t["Key"] for t in c.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == sorted(t["Key"] for t in longest["TagSet"])
    for bad in (tags(*((f"k{n}", "") for n in range(11))), tags(("k" * 129, "")), tags(("k", "v" * 257)), tags(("k", "a&b")), tags(("aws:k", ""))):
        assert refused(c.put_object_tagging, Bucket=bucket, Key="k", Tagging=bad).code == "InvalidTag", bad
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="k=a%26b").code == "InvalidTag"


def test_request_payment(c, bucket):
    """The owner pays until told otherwise."""
    assert c.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    for payer in ("Requester", "BucketOwner"):
        c.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": payer})
        assert c.get_bucket_request_payment(Bucket=bucket)["Payer"] == payer
    assert refused(c.put_bucket_request_payment, Bucket=bucket, RequestPaymentConfiguration={"Payer": "Nobody"}).code == "MalformedXML"


def test_acceleration(c, bucket):
    """Nothing before it is set; then what was set."""
    assert "Status" not in c.get_bucket_accelerate_configuration(Bucket=bucket)
    for status in ("Enabled", "Suspended"):
        c.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": status})
        assert c.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == status
    dotted = name("a.b")
    c.create_bucket(Bucket=dotted)
    error = refused(c.put_bucket_accelerate_configuration, Bucket=dotted, AccelerateConfiguration={"Status": "Enabled"})
    assert error.code == "InvalidRequest"


def test_website(c, bucket):
    """A configuration comes back as it was set, and goes."""
    assert refused(c.get_bucket_website, Bucket=bucket).code == "NoSuchWebsiteConfiguration"
    pages = {
        "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"},
        "RoutingRules": [
            {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "302"}},
            {"Condition": {"HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"HostName": "b.example", "Protocol": "https", "ReplaceKeyWith": "x"}},
        ],
    }
    for website in (pages, {"RedirectAllRequestsTo": {"HostName": "a.example", "Protocol": "https"}}, {"IndexDocument": {"Suffix": "i"}}):
        c.put_bucket_website(Bucket=bucket, WebsiteConfiguration=website)
        shown = c.get_bucket_website(Bucket=bucket)
        del shown["ResponseMetadata"]
        assert shown == website
    c.delete_bucket_website(Bucket=bucket)
    assert refused(c.get_bucket_website, Bucket=bucket).code == "NoSuchWebsiteConfiguration"


@pytest.mark.parametrize(
    ("website", "code"),
    [
        ({"ErrorDocument": {"Key": "e"}}, "InvalidArgument"),
        ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
        ({"IndexDocument": {"Suffix": "i"}, "RedirectAllRequestsTo": {"HostName": "a"}}, "InvalidArgument"),
        ({"RedirectAllRequestsTo": {"HostName": "a", "Protocol": "ftp"}}, "InvalidRequest"),
        ({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}]}, "InvalidRequest"),
        ({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "200"}}]}, "InvalidRequest"),
    ],
)
def test_websites_that_make_no_sense(c, bucket, website, code):
    assert refused(c.put_bucket_website, Bucket=bucket, WebsiteConfiguration=website).code == code
    assert refused(c.get_bucket_website, Bucket=bucket).code == "NoSuchWebsiteConfiguration"


def test_no_bucket_is_replicated_or_reported_on(c, bucket):
    """Who looks is told so in S3's way; who sets it is told that it is not implemented."""
    assert refused(c.get_bucket_replication, Bucket=bucket).code == "ReplicationConfigurationNotFoundError"
    c.delete_bucket_replication(Bucket=bucket)
    replication = {"Role": "r", "Rules": [{"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::b"}}]}
    assert refused(c.put_bucket_replication, Bucket=bucket, ReplicationConfiguration=replication).code == "NotImplemented"
    for kind in ("analytics", "intelligent_tiering", "inventory", "metrics"):
        listed = getattr(c, f"list_bucket_{kind}_configurations")(Bucket=bucket)
        assert listed["IsTruncated"] is False


def test_restore(c, bucket):
    """Nothing is out of reach: what S3 would have to fetch counts as restored, anything else as not to be."""
    c.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="GLACIER")
    c.put_object(Bucket=bucket, Key="warm", Body=b"x")
    restore = {"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}}
    assert c.restore_object(Bucket=bucket, Key="cold", RestoreRequest=restore)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert c.get_object(Bucket=bucket, Key="cold")["Body"].read() == b"x"
    error = refused(c.restore_object, Bucket=bucket, Key="warm", RestoreRequest=restore)
    assert (error.status, error.code) == (403, "InvalidObjectState")
    assert refused(c.restore_object, Bucket=bucket, Key="absent", RestoreRequest=restore).code == "NoSuchKey"


def test_logging(c, bucket):
    """Kept and shown, and gone when it is emptied. Who may be a target: test_s3_logging.py."""
    target = name("logs")
    c.create_bucket(Bucket=target, ACL="log-delivery-write")
    assert "LoggingEnabled" not in c.get_bucket_logging(Bucket=bucket)
    enabled = {"TargetBucket": target, "TargetPrefix": "p/", "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}}
    set_to = lambda bucket, enabled: c.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})
    set_to(bucket, enabled)
    assert c.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == enabled
    set_to(bucket, {"TargetBucket": target, "TargetPrefix": ""})
    assert c.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetObjectKeyFormat"] == {"SimplePrefix": {}}
    c.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in c.get_bucket_logging(Bucket=bucket)

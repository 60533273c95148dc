"""The official Tigris command line and SDK, unchanged, against Umbra with a SeaweedFS origin: values are checked, not exit codes.

A plain S3 server looks almost right to these clients, with every command ending in success.
"""

import json
import urllib.request

import pytest

from harness import clients
from harness.clients import read, refused
from harness.data import MIB, content, etag, multipart_etag
from harness.seaweed import BLIND
from harness.shadowed import name
from harness.tigris import Tigris
from harness.wait import until


@pytest.fixture
def tigris(umbra, tmp_path):
    """The clients with the root key."""
    return Tigris(tmp_path / "tigris", umbra.endpoint, umbra.access_key, umbra.secret_key)


@pytest.fixture
def store(tigris, c):
    """A bucket made by the command line; its name."""
    made = name("store")
    assert tigris("mk", made).out == f"Bucket '{made}' created\n"
    return made


@pytest.fixture
def migrating(tigris, store, pair):
    """A bucket whose shadow the command line set; `pair` holds the origin."""
    assert tigris(*set_migration(store, pair)).json() == {"action": "updated", "bucket": store}
    return store


def set_migration(bucket, pair, *more):
    origin = pair.origin
    return [
        "buckets", "set-migration", bucket, "--bucket", pair.origin_name, "--endpoint", pair.proxy.endpoint, "--region", origin.region,
        "--access-key", origin.access_key, "--secret-key", origin.secret_key, *more, "--json",
    ]


def listed(tigris, bucket, *more):
    """The keys that `objects list` shows; no output is no keys."""
    done = tigris("objects", "list", bucket, *more, "--json")
    return [item["key"] for item in done.json()["items"]] if done.out.strip() else []


def head(c, bucket, key):
    return c.head_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPHeaders"]


# -- who, and which buckets --------------------------------------------------------------------------------------------


def test_credentials_and_whoami(tigris, store, umbra):
    """credentials test, whoami, configure against a server of one's own."""
    assert "Access verified" in tigris("credentials", "test").out
    shown = tigris("whoami").out
    assert umbra.access_key in shown and "N/A" not in shown.replace("Email: N/A", "")


def test_wrong_credentials_are_told(umbra, tmp_path):
    """A wrong secret is a failure that says so."""
    wrong = Tigris(tmp_path / "wrong", umbra.endpoint, umbra.access_key, "wrong")
    done = wrong("buckets", "list", "--json", check=False)
    assert done.status != 0 and "signature" in done.error().lower()


def test_organizations_stay_apart(umbra, tigris, store, tmp_path):
    """A key of another organization neither lists, sees nor changes the bucket."""
    umbra.run("org", "create", "strangers", check=False)
    made = umbra.run("key", "create", "-o", "strangers", "--role", "admin", "--json", check=True).json()
    stranger = Tigris(tmp_path / "stranger", umbra.endpoint, made["access_key"], made["secret_key"])
    assert store not in stranger("buckets", "list", "--json").out
    for command in (["buckets", "get", store], ["buckets", "set", store, "--cache-control", "no-store"], ["ls", store]):
        done = stranger(*command, "--json", check=False)
        assert done.status != 0 and "denied" in done.err.lower(), repr(done)
    assert "Organization: strangers" in stranger("whoami").out


def test_buckets_are_created_listed_described_deleted(tigris, c):
    """mk, buckets create, list, get, stat, delete, rm."""
    one, two = name("made"), name("made")
    assert tigris("buckets", "create", one, "--locations", "iad,fra", "--json").json()["name"] == one
    tigris("mk", two, "--default-tier", "GLACIER_IR")
    names = [item["name"] for item in tigris("buckets", "list", "--json").json()["items"]]
    assert {one, two} <= set(names) and names == sorted(names)
    assert one in tigris("ls").out
    rows = tigris("buckets", "get", one, "--json").rows()
    assert rows["Locations"] == "Dual region (iad, fra)" and rows["Number of Objects"] == "0" and rows["Snapshots Enabled"] == "No"
    assert "Data Migration" not in rows
    assert tigris("stat", f"t3://{two}", "--json").rows()["Default Tier"] == "GLACIER_IR"
    again = tigris("mk", one, check=False)
    assert again.status == 1 and "already" in again.err
    c.put_object(Bucket=one, Key="k", Body=b"x")
    assert tigris("buckets", "delete", one, "--yes", "--json").json()["names"] == [one]
    assert tigris("rm", f"t3://{two}", "-f").out == f"Removed bucket '{two}'\n"
    assert refused(c.head_bucket, Bucket=one).status == 404 and refused(c.head_bucket, Bucket=two).status == 404
    assert tigris("buckets", "get", one, check=False).status == 1


def test_pages_of_buckets(tigris, umbra, c):
    """buckets list goes on behind the last one shown."""
    made = [name("paged") for _ in range(3)]
    for bucket in made:
        c.create_bucket(Bucket=bucket)
    # Other tests leave hundreds; each page is a process.
    limit = max(2, len(c.list_buckets()["Buckets"]) // 3)
    seen, token, pages = [], None, 0
    while True:
        pages += 1
        page = tigris("buckets", "list", "--limit", str(limit), *(["--page-token", token] if token else []), "--json").json()
        seen += [item["name"] for item in page["items"]]
        token = page.get("paginationToken")
        if not token:
            break
    assert set(made) <= set(seen) and len(seen) == len(set(seen)) and pages > 1


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings(tigris, store, c):
    """buckets set, one at a time; what is ours to enforce is enforced."""
    c.put_object(Bucket=store, Key="k", Body=b"x")
    tigris("buckets", "set", store, "--cache-control", "max-age=60", "--json")
    tigris("buckets", "set", store, "--custom-domain", "a.example.com", "--enable-additional-headers", "true", "--json")
    tigris("buckets", "set-locations", store, "--locations", "eur", "--json")
    tigris("buckets", "set", store, "--enable-delete-protection", "true", "--json")
    rows = tigris("buckets", "get", store, "--json").rows()
    assert rows["Custom Domain"] == "a.example.com" and rows["Locations"] == "Multi-region (eur)" and rows["Delete Protection"] == "Yes"
    assert rows["Additional Headers"] == "X-Content-Type-Options: nosniff"
    seen = head(c, store, "k")
    assert seen["cache-control"] == "max-age=60" and seen["x-content-type-options"] == "nosniff"
    done = tigris("buckets", "delete", store, "--yes", "--json", check=False)
    assert done.status == 1 and "protected" in done.error()
    assert read(c, store, "k") == b"x"
    tigris("buckets", "set", store, "--enable-delete-protection", "false", "--json")
    tigris("buckets", "set-locations", store, "--locations", "global", "--json")
    assert tigris("buckets", "get", store, "--json").rows()["Locations"] == "Global"


def test_access(tigris, store, c, umbra):
    """Public and private, set by headers of a PATCH."""
    c.put_object(Bucket=store, Key="k", Body=b"public")

    def anonymous(path):
        try:
            with urllib.request.urlopen(f"{umbra.endpoint}/{store}{path}") as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            return error.code

    assert anonymous("/k") == 403
    tigris("buckets", "set", store, "--access", "public")
    assert anonymous("/k") == b"public" and anonymous("?list-type=2") == 403
    tigris("buckets", "set", store, "--disable-directory-listing", "false")
    assert b"<Key>k</Key>" in anonymous("?list-type=2")
    tigris("buckets", "set", store, "--access", "private")
    assert anonymous("/k") == 403


def test_cors(tigris, store, c, umbra):
    """set-cors appends; the rules answer browsers and the S3 API."""
    tigris("buckets", "set-cors", store, "--origins", "https://a.example", "--methods", "PUT", "--headers", "*", "--max-age", "60", "--json")
    tigris("buckets", "set-cors", store, "--origins", "*", "--json")
    assert tigris("buckets", "get", store, "--json").rows()["CORS Rules"] == "2 rule(s)"
    rules = c.get_bucket_cors(Bucket=store)["CORSRules"]
    assert rules[0] == {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"], "MaxAgeSeconds": 60}
    ask = urllib.request.Request(
        f"{umbra.endpoint}/{store}/k", method="OPTIONS",
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"},
    )
    with urllib.request.urlopen(ask) as answer:
        assert answer.headers["access-control-allow-origin"] == "https://a.example" and answer.headers["access-control-max-age"] == "60"
    tigris("buckets", "set-cors", store, "--reset", "--json")
    assert refused(c.get_bucket_cors, Bucket=store).code == "NoSuchCORSConfiguration"


def test_lifecycle(tigris, store):
    """lifecycle create, list, edit: PATCH is read-your-writes."""
    first = tigris("buckets", "lifecycle", "create", store, "--prefix", "logs/", "--expire-days", "30", "--json").json()["id"]
    second = tigris("buckets", "lifecycle", "create", store, "--storage-class", "GLACIER", "--days", "90", "--json").json()["id"]
    tigris("buckets", "lifecycle", "edit", store, first, "--expire-days", "7", "--json")
    rules = {rule["id"]: rule for rule in tigris("buckets", "lifecycle", "list", store, "--json").json()}
    assert rules[first]["expiration"] == "7d" and rules[first]["prefix"] == "logs/" and rules[first]["status"] == "enabled"
    assert rules[second]["transition"] == "GLACIER after 90d"


def test_notifications(tigris, store, umbra):
    """set-notifications keeps its token through a change, and never shows it."""
    tigris("buckets", "set-notifications", store, "--url", "https://hook.example/x", "--token", "s3cret-token", "--json")
    assert tigris("buckets", "get", store, "--json").rows()["Notifications"].startswith("Enabled")
    tigris("buckets", "set-notifications", store, "--disable", "--json")
    assert tigris("buckets", "get", store, "--json").rows()["Notifications"].startswith("Disabled")
    [info] = tigris.sdk(store, ["getBucketInfo", store])
    assert info["data"]["settings"]["notifications"]["auth"] == {"token": "********"}
    assert "s3cret-token" not in umbra.all_text()


@pytest.mark.parametrize(
    "command",
    [
        ["buckets", "enable-snapshots", "{b}"], ["snapshots", "take", "{b}"], ["snapshots", "list", "{b}"],
        ["buckets", "create", "{b}-fork", "--fork-of", "{b}"], ["buckets", "set", "{b}", "--soft-delete", "enable", "--retention-days", "7"],
        ["ls", "{b}", "--snapshot-version", "1795330388314316829"], ["bundle", "{b}", "--keys", "a", "--output", "x.tar"], ["access-keys", "list"],
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_what_is_not_implemented_says_so(tigris, store, command):
    """No success is pretended."""
    done = tigris(*(part.format(b=store) for part in command), check=False)
    assert done.status != 0 and "not implemented" in (done.err + done.out), repr(done)


# -- objects -----------------------------------------------------------------------------------------------------------


def test_objects(tigris, store, c, tmp_path):
    """put, get, info, list, delete, set-access, touch, folders."""
    (tmp_path / "in.json").write_text('{"a": 1}')
    put = tigris("objects", "put", store, "dir/in.json", tmp_path / "in.json", "--content-type", "application/json", "--json")
    assert put.json()[0]["path"] == "dir/in.json"
    assert c.head_object(Bucket=store, Key="dir/in.json")["ContentType"] == "application/json"
    assert json.loads(tigris("objects", "get", store, "dir/in.json").out) == {"a": 1}
    rows = tigris("objects", "info", store, "dir/in.json", "--json").rows()
    assert rows["Size"] == "8 B" and rows["Content-Type"] == "application/json"
    assert tigris("stat", f"t3://{store}/dir/in.json", "--json").rows()["Size"] == "8 B"
    tigris("touch", f"{store}/touched")
    tigris("mk", f"{store}/folder/")
    assert listed(tigris, store) == ["dir/in.json", "folder/", "touched"]
    assert "dir/" in tigris("ls", store).out
    tigris("objects", "set-access", store, "touched", "private")
    tigris("objects", "set-access", store, "touched", "public")
    assert clients.anonymous(c.meta.endpoint_url).get_object(Bucket=store, Key="touched")["Body"].read() == b""
    assert tigris("objects", "delete", store, "touched", "--yes", "--json").json()["deleted"] == [{"key": "touched"}]
    assert listed(tigris, store) == ["dir/in.json", "folder/"]
    missing = tigris("objects", "get", store, "touched", "--json", check=False)
    assert missing.status == 1 and missing.error() == "File not found in Tigris Storage"
    assert tigris("objects", "info", store, "touched", check=False).status == 3


@pytest.mark.parametrize("size", [0, 5, 12 * MIB], ids=["empty", "small", "parts"])
def test_cp_and_mv(tigris, store, c, tmp_path, size):
    """Up, down, across and renamed: the same bytes, and the parts of an upload."""
    body = content(size)
    (tmp_path / "f").write_bytes(body)
    tigris("cp", tmp_path / "f", f"t3://{store}/a b/\u00e9")
    seen = c.head_object(Bucket=store, Key="a b/\u00e9")
    parts = [body[at : at + 5 * MIB] for at in range(0, size, 5 * MIB)]
    assert seen["ETag"] == (multipart_etag(parts) if size > 5 * MIB else etag(body))
    tigris("cp", f"t3://{store}/a b/\u00e9", f"t3://{store}/copy")
    assert f"Moved t3://{store}/copy" in tigris("mv", f"t3://{store}/copy", f"t3://{store}/moved", "-f").out
    assert listed(tigris, store) == ["a b/\u00e9", "moved"]
    tigris("cp", f"t3://{store}/moved", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == body
    assert c.head_object(Bucket=store, Key="moved")["ContentType"] == seen["ContentType"]


def test_trees(tigris, store, tmp_path):
    """cp -r, mv -r and rm -r."""
    root = tmp_path / "tree"
    (root / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "deep" / "b.txt").write_text("b")
    tigris("cp", "-r", f"{root}/", f"t3://{store}/t/")
    assert listed(tigris, store) == ["t/a.txt", "t/deep/b.txt"]
    tigris("mv", "-r", f"t3://{store}/t/", f"t3://{store}/u/", "-f")
    assert listed(tigris, store) == ["u/a.txt", "u/deep/b.txt"]
    tigris("rm", "-r", f"t3://{store}/u/", "-f")
    assert listed(tigris, store) == []


def test_presign(tigris, store, c):
    """The server signs; the URL works for its method and no other."""
    c.put_object(Bucket=store, Key="a b/k", Body=b"shared")
    url = tigris("presign", f"{store}/a b/k").out.strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"shared"
    put = tigris("presign", f"{store}/up", "--method", "put", "--expires-in", "60").out.strip()
    with urllib.request.urlopen(urllib.request.Request(put, data=b"uploaded", method="PUT")):
        assert read(c, store, "up") == b"uploaded"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(put)


# -- migration ---------------------------------------------------------------------------------------------------------


def test_migration(tigris, store, pair, c, tmp_path):
    """The whole way: set, look at both sides, read through, migrate, end, delete; the origin keeps everything."""
    bodies = {f"docs/f{n}.txt": f"content {n}".encode() for n in range(5)}
    for key, body in bodies.items():
        pair.put_there(key, body, ContentType="text/plain", Metadata={"n": key[-5]})
    assert tigris(*set_migration(store, pair)).json() == {"action": "updated", "bucket": store}
    assert tigris("buckets", "get", store, "--json").rows()["Data Migration"] == f"{pair.origin_name} ({pair.proxy.endpoint})"
    assert listed(tigris, store, "--source", "shadow") == sorted(bodies) == listed(tigris, store)
    assert listed(tigris, store, "--source", "tigris") == []
    assert tigris("objects", "get", store, "docs/f0.txt").out.rstrip("\n") == "content 0"
    until("the copy of what was read", lambda: listed(tigris, store, "--source", "tigris") == ["docs/f0.txt"], every=0.5)

    refusal = tigris("buckets", "set-migration", store, "--disable", "--json", check=False)
    assert refusal.status == 1 and "4 objects" in refusal.error() and f"umbra storage update {store} --clear-shadow --force" in refusal.error()

    tigris("objects", "delete", store, "docs/f4.txt", "--yes")
    done = tigris("buckets", "migrate", store, "--json")
    assert {k: done.json()[k] for k in ("toMigrate", "scheduled", "confirmed", "failed")} == {"toMigrate": 3, "scheduled": 3, "confirmed": 3, "failed": 0}
    assert "3 object(s) migrated" in done.err
    assert tigris("buckets", "migrate", store, "--json").json()["toMigrate"] == 0
    assert listed(tigris, store, "--source", "tigris") == sorted(bodies)[:4], "what was deleted here did not come back"
    assert [len(pair.proxy.transfers(key)) for key in sorted(bodies)] == [1, 1, 1, 1, 0]

    assert tigris("buckets", "set-migration", store, "--disable", "--json").json() == {"action": "updated", "bucket": store}
    assert "Data Migration" not in tigris("buckets", "get", store, "--json").rows()
    pair.proxy.forget()
    for key in sorted(bodies)[:4]:
        seen = c.get_object(Bucket=store, Key=key)
        assert seen["Body"].read() == bodies[key] and seen["ContentType"] == "text/plain" and seen["Metadata"] == {"n": key[-5]}
    tigris("buckets", "delete", store, "--yes", "--json")
    assert all(pair.read_there(key) == body for key, body in bodies.items())


def test_migrate_a_prefix(tigris, migrating, pair):
    """`migrate bucket/prefix` moves that and nothing else."""
    for key in ("a/1", "a/2", "b/1"):
        pair.put_there(key, key.encode())
    assert tigris("buckets", "migrate", f"{migrating}/a", "--json").json()["confirmed"] == 2
    assert listed(tigris, migrating, "--source", "tigris") == ["a/1", "a/2"]


def test_migrate_more_than_a_page(tigris, migrating, pair):
    """More keys than are looked at at once, in pages; every one comes, and ends."""
    keys = [f"k{n:03}" for n in range(120)]
    for key in keys:
        pair.put_there(key, key.encode())
    done = tigris("buckets", "migrate", migrating, "--json")
    assert done.json()["confirmed"] == 120 and done.json()["failed"] == 0
    assert listed(tigris, migrating, "--source", "tigris") == keys


def test_migrate_what_cannot_be_read(tigris, migrating, pair):
    """A copy that fails for good is a failure of the command, which ends."""
    pair.put_there("good", b"good")
    pair.put_there("bad", b"bad")
    pair.fault("GET", "bad", status=403)
    done = tigris("buckets", "migrate", migrating, "--json", check=False)
    assert done.status == 1 and done.json()["confirmed"] == 1 and done.json()["failed"] == 1, repr(done)


def test_set_migration_probes(tigris, store, pair):
    """Credentials without the rights are refused at once, with the reason; nothing is set."""
    command = set_migration(store, pair)
    command[command.index("--access-key") + 1], command[command.index("--secret-key") + 1] = BLIND
    done = tigris(*command, check=False)
    assert done.status != 0 and "cannot list the origin's bucket" in done.error()
    assert "Data Migration" not in tigris("buckets", "get", store, "--json").rows()


def test_write_through(tigris, store, pair, tmp_path):
    """set-migration --write-through: uploads, moves and deletes reach the origin."""
    tigris(*set_migration(store, pair, "--write-through"))
    (tmp_path / "f").write_bytes(b"both")
    tigris("cp", tmp_path / "f", f"t3://{store}/f")
    assert pair.read_there("f") == b"both"
    tigris("mv", f"t3://{store}/f", f"t3://{store}/g", "-f")
    assert not pair.is_there("f") and pair.read_there("g") == b"both"
    tigris("rm", f"t3://{store}/g", "-f")
    assert not pair.is_there("g")
    pair.put_there("later", b"later")
    assert listed(tigris, store) == ["later"], "the full contents, as documented"


def test_the_origins_secret_is_never_told(tigris, migrating, pair, umbra):
    """Neither the command line nor the SDK gets it back."""
    [info] = tigris.sdk(migrating, ["getBucketInfo", migrating])
    migration = info["data"]["settings"]["dataMigration"]
    assert migration["name"] == pair.origin_name and migration["accessKey"] == pair.origin.access_key and "secretKey" not in migration
    assert pair.origin.secret_key not in json.dumps(info) and pair.origin.secret_key not in umbra.all_text()


def test_sdk_is_migrated(tigris, migrating, pair):
    """isMigrated, before and after migrate."""
    pair.put_there("k", b"content")
    assert tigris.sdk(migrating, ["isMigrated", "k"]) == [{"data": False}]
    assert "error" not in tigris.sdk(migrating, ["migrate", "k"])[0]
    until("the copy", lambda: tigris.sdk(migrating, ["isMigrated", "k"]) == [{"data": True}], every=0.3)


def test_sdk_signed_upload_urls(tigris, store, c):
    """A presigned PUT with metadata, and a form with a size limit."""
    [put, form] = tigris.sdk(
        store,
        ["getSignedUploadUrl", "up", {"expiresIn": 60, "contentType": "text/plain", "metadata": {"n": "1"}}],
        ["getSignedUploadUrl", "form", {"expiresIn": 60, "contentType": "text/plain", "maxSize": 10}],
    )
    put, form = put["data"], form["data"]
    assert put["method"] == "PUT" and form["method"] == "POST"
    with urllib.request.urlopen(urllib.request.Request(put["url"], data=b"uploaded", method="PUT", headers=put.get("headers", {}))):
        pass
    seen = c.get_object(Bucket=store, Key="up")
    assert seen["Body"].read() == b"uploaded" and seen["ContentType"] == "text/plain" and seen["Metadata"] == {"n": "1"}
    assert post_form(form, b"a form") in (200, 201, 204)
    assert read(c, store, "form") == b"a form"
    assert post_form(form, b"longer than ten") == 400
    assert read(c, store, "form") == b"a form"


def post_form(form, body):
    """Sends an upload form as a browser does; the status."""
    edge, lines = "edge-of-the-form", []
    for field, value in form["fields"].items():
        lines.append(f'--{edge}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode())
    lines.append(f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\n'.encode() + body)
    lines.append(f"\r\n--{edge}--\r\n".encode())
    ask = urllib.request.Request(form["url"], data=b"".join(lines), method="POST", headers={"Content-Type": f"multipart/form-data; boundary={edge}"})
    try:
        with urllib.request.urlopen(ask) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

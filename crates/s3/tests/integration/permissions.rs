//! Who may do what, by everything that has a say.

use std::sync::Arc;

use serde_json::{Value, json};
use umbra_core::{BucketName, ObjectKey};
use umbra_s3::S3Settings;
use umbra_store::{NewKey, Role};

use crate::{
    client::{Ask, Client},
    held_meta::HeldMeta,
    world::World,
};

/// Everyone who could ask for something in `photos`, which is `acme`'s.
struct Askers {
    admin: Client,
    reader: Client,
    confined: Client,
    stranger: Client,
    strange_reader: Client,
    strange_confined: Client,
    anonymous: Client,
}

impl Askers {
    async fn of(world: &World) -> Self {
        let admin = world.admin().await;
        let stranger = world.client(Some("evil"), Role::Admin).await;
        assert_eq!(admin.send(Ask::put("/other")).await.status, 200);
        assert_eq!(stranger.send(Ask::put("/theirs")).await.status, 200);
        Self {
            reader: world.client(Some("acme"), Role::Reader).await,
            confined: confined(world, "acme", "other").await,
            strange_reader: world.client(Some("evil"), Role::Reader).await,
            strange_confined: confined(world, "evil", "theirs").await,
            anonymous: world.anonymous(),
            admin,
            stranger,
        }
    }

    /// What each is told, in the order of the fields: 200, 204 or 404 is a yes.
    async fn told(&self, ask: Ask) -> [bool; 7] {
        let mut told = [false; 7];
        let askers =
            [&self.admin, &self.reader, &self.confined, &self.stranger, &self.strange_reader, &self.strange_confined, &self.anonymous];
        for (told, asker) in told.iter_mut().zip(askers) {
            let status = asker.send(ask.clone()).await.status;
            assert!([200, 204, 404, 403].contains(&status), "{ask:?}: {status}");
            *told = status != 403;
        }
        told
    }
}

async fn confined(world: &World, organization: &str, bucket: &str) -> Client {
    let bucket = Some(BucketName::parse(bucket).unwrap());
    let request = NewKey { organization: Some(organization.to_owned()), role: Role::Admin, bucket, fixed: None };
    let key = world.catalog.create_key(request).await.unwrap();
    Client { key: Some((key.id, key.secret.expose().to_owned())), ..world.anonymous() }
}

fn policy(effect: &str, principal: &Value, action: &str) -> String {
    let resource = ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"];
    json!({ "Statement": { "Effect": effect, "Principal": principal, "Action": action, "Resource": resource } }).to_string()
}

/// What is set and asked: a policy, the bucket's ACL, the object's, the request; and who may.
type Case = (&'static str, Option<String>, &'static str, &'static str, Ask, [bool; 7]);

/// The order of the columns is that of [`Askers`].
#[tokio::test]
async fn everything_has_its_say() {
    const T: bool = true;
    const F: bool = false;
    let world = World::new().await;
    let askers = Askers::of(&world).await;
    let (all, theirs) = (json!("*"), json!({ "AWS": "arn:aws:iam::evil:root" }));
    let key = askers.strange_confined.key.clone().unwrap().0;
    let very_key = json!({ "AWS": format!("arn:aws:iam::evil:user/{key}") });
    let read = || Ask::get("/photos/k");
    let write = || Ask::put("/photos/new").body("x");
    let cases: [Case; 17] = [
        ("nothing said", None, "private", "private", read(), [T, T, F, F, F, F, F]),
        ("nothing said", None, "private", "private", write(), [T, F, F, F, F, F, F]),
        ("an object's ACL for all", None, "private", "public-read", read(), [T, T, T, T, T, T, T]),
        ("an object's ACL for keys", None, "private", "authenticated-read", read(), [T, T, T, T, T, T, F]),
        ("a bucket's ACL opens no object", None, "public-read", "private", read(), [T, T, F, F, F, F, F]),
        ("a bucket's ACL opens the list", None, "public-read", "private", Ask::get("/photos"), [T, T, T, T, T, T, T]),
        ("a bucket's ACL opens writes", None, "public-read-write", "private", write(), [T, T, T, T, T, T, T]),
        ("a policy for all", Some(policy("Allow", &all, "s3:GetObject")), "private", "private", read(), [T, T, T, T, T, T, T]),
        ("and for nothing else", Some(policy("Allow", &all, "s3:GetObject")), "private", "private", write(), [T, F, F, F, F, F, F]),
        ("a policy for them", Some(policy("Allow", &theirs, "s3:*")), "private", "private", read(), [T, T, F, T, T, F, F]),
        ("as far as roles go", Some(policy("Allow", &theirs, "s3:*")), "private", "private", write(), [T, F, F, T, F, F, F]),
        ("a policy for a very key", Some(policy("Allow", &very_key, "s3:*")), "private", "private", read(), [T, T, F, F, F, T, F]),
        ("a denial for all", Some(policy("Deny", &all, "s3:GetObject")), "private", "public-read", read(), [F, F, F, F, F, F, F]),
        ("a denial for them", Some(policy("Deny", &theirs, "s3:GetObject")), "private", "public-read", read(), [T, T, T, F, F, F, T]),
        ("a denial of all", Some(policy("Deny", &all, "s3:*")), "private", "private", Ask::get("/photos?policy"), [T, F, F, F, F, F, F]),
        ("settings", None, "public-read-write", "private", Ask::get("/photos?cors"), [T, F, F, F, F, F, F]),
        (
            "settings by policy",
            Some(policy("Allow", &theirs, "s3:*")),
            "private",
            "private",
            Ask::get("/photos?cors"),
            [T, F, F, T, F, F, F],
        ),
    ];
    let admin = &askers.admin;
    for (what, policy, bucket_acl, object_acl, ask, expected) in cases {
        assert_eq!(admin.send(Ask::delete("/photos?policy")).await.status, 204);
        assert_eq!(admin.send(Ask::put("/photos?acl").header("x-amz-acl", bucket_acl)).await.status, 200);
        assert_eq!(admin.send(Ask::put("/photos/k").header("x-amz-acl", object_acl).body("content")).await.status, 200);
        admin.send(Ask::delete("/photos/new")).await;
        if let Some(policy) = policy {
            assert_eq!(admin.send(Ask::put("/photos?policy").body(policy)).await.status, 204);
        }
        assert_eq!(askers.told(ask.clone()).await, expected, "{what}: {ask:?}");
    }
}

#[tokio::test]
async fn a_public_bucket_opens_its_objects_and_an_acl_ends_it() {
    let world = World::new().await;
    let askers = Askers::of(&world).await;
    let admin = &askers.admin;
    assert_eq!(admin.send(Ask::put("/photos/k").body("content")).await.status, 200);
    world.make_public("photos").await;
    assert_eq!(askers.told(Ask::get("/photos/k")).await, [true; 7]);
    assert_eq!(askers.told(Ask::get("/photos?list-type=2")).await, [true, true, false, false, false, false, false]);
    assert_eq!(
        world.anonymous().send(Ask::get("/photos/absent")).await.error(),
        (403, "AccessDenied"),
        "who may not list does not learn it"
    );
    let ignore = "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>";
    assert_eq!(admin.send(Ask::put("/photos?publicAccessBlock").body(ignore)).await.status, 200);
    assert_eq!(askers.told(Ask::get("/photos/k")).await, [true, true, false, false, false, false, false]);
    assert_eq!(admin.send(Ask::delete("/photos?publicAccessBlock")).await.status, 204);
    assert_eq!(admin.send(Ask::put("/photos?acl").header("x-amz-acl", "private")).await.status, 200);
    assert_eq!(askers.told(Ask::get("/photos/k")).await, [true, true, false, false, false, false, false]);
}

/// An object takes the place of another between the judgement and the read: what is read is judged too.
#[tokio::test]
async fn what_is_read_is_what_was_judged() {
    let meta = Arc::new(HeldMeta::default());
    let world = World::over(Arc::clone(&meta) as _, S3Settings::default()).await;
    let (admin, stranger) = (world.admin().await, world.client(Some("evil"), Role::Admin).await);
    assert_eq!(stranger.send(Ask::put("/theirs")).await.status, 200);
    let upload = stranger.send(Ask::post("/theirs/parts?uploads")).await.element("UploadId").unwrap().to_owned();
    let row = umbra_meta::key::object(&ObjectKey::parse("k").unwrap());
    let copy = |uri: &str| Ask::put(uri).header("x-amz-copy-source", "/photos/k");
    let reads = [
        Ask::get("/photos/k"),
        Ask::head("/photos/k"),
        Ask::get("/photos/k").header("if-none-match", "*"),
        Ask::get("/photos/k?attributes").header("x-amz-object-attributes", "ETag"),
        copy("/theirs/copy"),
        copy("/theirs/copy").header("x-amz-storage-class", "STANDARD_IA"),
        copy(&format!("/theirs/parts?partNumber=1&uploadId={upload}")),
    ];
    let by_tags = [Ask::get("/photos/k?tagging")];
    let put = |name, value| Ask::put("/photos/k").header(name, value).body("content");
    let by_acl = (put("x-amz-acl", "public-read"), put("x-amz-acl", "private"));
    let by_tag = (put("x-amz-tagging", "open=yes"), put("x-amz-tagging", "open=no"));
    let condition = json!({ "StringEquals": { "s3:ExistingObjectTag/open": "yes" } });
    let actions = ["s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectTagging"];
    let statement =
        json!({ "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": "arn:aws:s3:::photos/*", "Condition": condition });
    let policy = Ask::put("/photos?policy").body(json!({ "Statement": statement }).to_string());
    for (asks, (open, closed), policy) in [(&reads[..], by_acl, None), (&[reads.as_slice(), &by_tags].concat(), by_tag, Some(policy))] {
        if let Some(policy) = policy {
            assert_eq!(admin.send(policy).await.status, 204);
        }
        for ask in asks {
            assert_eq!(admin.send(open.clone()).await.status, 200);
            assert!([200, 304].contains(&stranger.send(ask.clone()).await.status), "{ask:?}");
            let hold = meta.hold(&row);
            let (asker, asked) = (stranger.clone(), ask.clone());
            let answer = tokio::spawn(async move { asker.send(asked).await.status });
            hold.has_come.notified().await;
            assert_eq!(admin.send(closed.clone()).await.status, 200);
            hold.may_go.notify_one();
            assert_eq!(answer.await.unwrap(), 403, "{ask:?}");
        }
    }
}

/// Whoever is of the bucket's organization learns that its role falls short, and nobody else learns anything.
#[tokio::test]
async fn a_role_that_falls_short_is_told_to_its_own() {
    let world = World::new().await;
    let askers = Askers::of(&world).await;
    let versioning = || Ask::put("/photos?versioning").body("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>");
    let editor = world.client(Some("acme"), Role::Editor).await;
    for (name, asker, ask, says) in [
        ("write", &askers.reader, Ask::put("/photos/k").body("x"), "it takes the role editor, and this access key has the role reader"),
        ("setting", &editor, versioning(), "it takes the role admin, and this access key has the role editor"),
        ("bucket", &editor, Ask::put("/another"), "an access key of the role admin that is not confined to a bucket"),
        ("confined", &askers.confined, Ask::put("/another"), "an access key of the role admin that is not confined to a bucket"),
    ] {
        let answer = asker.send(ask).await;
        assert_eq!(answer.status, 403, "{name}");
        assert!(answer.text().contains(says), "{name}: {}", answer.text());
    }
    for asker in [&askers.confined, &askers.stranger, &askers.strange_reader, &askers.anonymous] {
        let answer = asker.send(versioning()).await;
        assert!(answer.status == 403 && !answer.text().contains("role"), "{}", answer.text());
    }
}

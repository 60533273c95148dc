//! Listings.

use crate::{
    client::{Ask, Client},
    world::World,
};

async fn filled(world: &World) -> Client {
    let admin = world.admin().await;
    for key in ["a", "b/1", "b/2", "c%20%2B", "d/%C3%BC"] {
        assert_eq!(admin.send(Ask::put(&format!("/photos/{key}")).body("x")).await.status, 200);
    }
    admin
}

#[tokio::test]
async fn version_two_pages_by_token() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let first = admin.send(Ask::get("/photos?list-type=2&max-keys=2&delimiter=%2F")).await;
    assert_eq!((first.elements("Key"), first.element("KeyCount"), first.element("IsTruncated")), (vec!["a"], Some("2"), Some("true")));
    assert_eq!(first.element("CommonPrefixes"), Some("<Prefix>b/</Prefix>"));
    assert_eq!((first.element("MaxKeys"), first.element("Delimiter")), (Some("2"), Some("/")));
    let token = first.element("NextContinuationToken").unwrap();
    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    let second = admin.send(Ask::get(&format!("/photos?list-type=2&delimiter=%2F&continuation-token={token}"))).await;
    assert_eq!((second.elements("Key"), second.element("IsTruncated")), (vec!["c +"], Some("false")));
    assert_eq!((second.element("CommonPrefixes"), second.element("NextContinuationToken")), (Some("<Prefix>d/</Prefix>"), None));

    let after = admin.send(Ask::get("/photos?list-type=2&start-after=b%2F1&fetch-owner=true")).await;
    assert_eq!(after.elements("Key"), ["b/2", "c +", "d/ü"]);
    assert_eq!(
        (after.element("StartAfter"), after.element("DisplayName"), after.element("StorageClass")),
        (Some("b/1"), Some("acme"), Some("STANDARD"))
    );
    let none = admin.send(Ask::get("/photos?list-type=2&max-keys=0")).await;
    assert_eq!((none.elements("Key").len(), none.element("IsTruncated")), (0, Some("false")));
    assert_eq!(admin.send(Ask::get("/photos?list-type=2&max-keys=-1")).await.error(), (400, "InvalidArgument"));
    assert_eq!(admin.send(Ask::get("/photos?list-type=2&max-keys=x")).await.error(), (400, "InvalidArgument"));
    let clamped = admin.send(Ask::get("/photos?list-type=2&max-keys=5000")).await;
    assert_eq!(clamped.element("MaxKeys"), Some("1000"));
    assert_eq!(admin.send(Ask::get("/photos?list-type=2&continuation-token=")).await.elements("Key").len(), 5);
    assert_eq!(admin.send(Ask::get("/photos?list-type=2&continuation-token=nonsense")).await.error(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn version_one_pages_by_marker() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let plain = admin.send(Ask::get("/photos?max-keys=2")).await;
    assert_eq!((plain.elements("Key"), plain.element("IsTruncated"), plain.element("NextMarker")), (vec!["a", "b/1"], Some("true"), None));
    assert_eq!(plain.element("Marker"), Some(""));
    assert_eq!(plain.elements("Owner").len(), 2);
    let rolled = admin.send(Ask::get("/photos?max-keys=2&delimiter=%2F")).await;
    assert_eq!((rolled.elements("Key"), rolled.element("NextMarker")), (vec!["a"], Some("b/")));
    let rest = admin.send(Ask::get("/photos?delimiter=%2F&marker=b%2F")).await;
    assert_eq!((rest.elements("Key"), rest.element("IsTruncated")), (vec!["c +"], Some("false")));
    assert_eq!(admin.send(Ask::get("/photos?prefix=b%2F")).await.elements("Key"), ["b/1", "b/2"]);
    let no_delimiter = admin.send(Ask::get("/photos?delimiter=")).await;
    assert_eq!((no_delimiter.elements("Key").len(), no_delimiter.element("Delimiter")), (5, None));
}

#[tokio::test]
async fn keys_are_encoded_when_asked() {
    let world = World::new().await;
    let admin = filled(&world).await;
    admin.send(Ask::put("/photos/z%01%26").body("x")).await;
    let encoded = admin.send(Ask::get("/photos?list-type=2&encoding-type=url&start-after=b%2F2")).await;
    assert_eq!(encoded.elements("Key"), ["c%20%2B", "d/%C3%BC", "z%01%26"]);
    assert_eq!((encoded.element("EncodingType"), encoded.element("StartAfter")), (Some("url"), Some("b/2")));
    let plain = admin.send(Ask::get("/photos?prefix=z")).await;
    assert_eq!(plain.elements("Key"), ["z&#x1;&amp;"]);
    assert_eq!(admin.send(Ask::get("/photos?encoding-type=base64")).await.error(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn one_side_of_a_bucket_without_shadow() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let side = |source: &str| Ask::get("/photos?list-type=2").header("x-tigris-list-source", source);
    assert_eq!(admin.send(side("tigris")).await.elements("Key").len(), 5);
    assert_eq!(admin.send(side("both")).await.error(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn every_object_is_its_only_version() {
    let world = World::new().await;
    let admin = filled(&world).await;
    let first = admin.send(Ask::get("/photos?versions&max-keys=2&delimiter=%2F")).await;
    assert_eq!((first.elements("Key"), first.element("VersionId"), first.element("IsLatest")), (vec!["a"], Some("null"), Some("true")));
    assert_eq!((first.element("NextKeyMarker"), first.element("NextVersionIdMarker")), (Some("b/"), None));
    let rest = admin.send(Ask::get("/photos?versions&key-marker=b%2F1&version-id-marker=null&max-keys=2")).await;
    assert_eq!(rest.elements("Key"), ["b/2", "c +"]);
    assert_eq!((rest.element("NextKeyMarker"), rest.element("NextVersionIdMarker")), (Some("c +"), Some("null")));
    let delete = "<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>";
    assert_eq!(admin.send(Ask::post("/photos?delete").body(delete)).await.elements("Deleted").len(), 1);
}

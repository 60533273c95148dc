use super::{Addressing, Endpoint, EndpointError};

fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(url, "auto", Addressing::Auto).unwrap()
}

#[test]
fn endpoints_are_checked() {
    for (url, expected) in [
        ("https://s3.example.com", "https://s3.example.com"),
        ("  HTTPS://S3.Example.com/ ", "https://s3.example.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://[2600::1]:9000/base/path/", "https://[2600::1]:9000/base/path"),
        ("https://s3.example.com:443", "https://s3.example.com"),
        // Other spellings of an address are told apart from names, so that the guard sees through them.
        ("http://0x7f.1/", "http://127.0.0.1"),
        ("http://2130706433/", "http://127.0.0.1"),
    ] {
        assert_eq!(endpoint(url).to_string(), expected, "{url}");
    }
    let refused = |url| Endpoint::parse(url, "auto", Addressing::Auto).unwrap_err();
    assert!(matches!(refused("s3.example.com"), EndpointError::Malformed(_)));
    assert!(matches!(refused("https://"), EndpointError::Malformed(_)));
    assert_eq!(refused("ftp://example.com"), EndpointError::Scheme("ftp".into()));
    assert_eq!(refused("localhost:9000"), EndpointError::Scheme("localhost".into()));
    assert_eq!(refused("https://key:secret@example.com"), EndpointError::Credentials);
    assert_eq!(refused("https://key@example.com"), EndpointError::Credentials);
    assert_eq!(refused("https://example.com/?x"), EndpointError::Query);
    assert_eq!(refused("https://example.com/#x"), EndpointError::Fragment);
    let region = Endpoint::parse("https://example.com", "eu/west", Addressing::Auto);
    assert_eq!(region, Err(EndpointError::Region("eu/west".into())));
    let address = Endpoint::parse("https://10.0.0.1", "auto", Addressing::VirtualHost);
    assert_eq!(address, Err(EndpointError::VirtualHostOfAddress));
}

#[test]
fn the_signing_region_comes_from_the_host_when_nobody_names_it() {
    for (url, region, expected) in [
        ("https://s3.example.com", "auto", "us-east-1"),
        ("https://s3.example.com", "", "us-east-1"),
        ("https://s3.example.com", "eu-central-1", "eu-central-1"),
        ("https://abc.r2.cloudflarestorage.com", "auto", "auto"),
        ("https://abc.r2.cloudflarestorage.com", "weur", "weur"),
        ("https://s3.amazonaws.com", "auto", "us-east-1"),
        ("https://s3.eu-west-1.amazonaws.com", "auto", "eu-west-1"),
        ("https://s3-eu-west-1.amazonaws.com", "auto", "eu-west-1"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "auto", "eu-west-1"),
        ("https://s3-accelerate.amazonaws.com", "auto", "us-east-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "auto", "cn-north-1"),
        ("https://s3.us-west-004.backblazeb2.com", "auto", "us-west-004"),
        ("https://s3.eu-central-2.wasabisys.com", "auto", "eu-central-2"),
        ("https://s3.fr-par.scw.cloud", "auto", "fr-par"),
        ("https://storage.googleapis.com", "auto", "us-east-1"),
    ] {
        assert_eq!(Endpoint::parse(url, region, Addressing::Auto).unwrap().signing_region(), expected, "{url} {region}");
    }
}

#[test]
fn buckets_are_addressed() {
    use Addressing::{Auto, Path, VirtualHost};
    for (url, addressing, bucket, expected) in [
        ("https://s3.amazonaws.com", Auto, "photos", "https://photos.s3.amazonaws.com/k"),
        ("https://s3.amazonaws.com", Auto, "my.photos", "https://s3.amazonaws.com/my.photos/k"),
        ("https://s3.amazonaws.com", Path, "photos", "https://s3.amazonaws.com/photos/k"),
        ("https://amazonaws.com.evil.example", Auto, "photos", "https://amazonaws.com.evil.example/photos/k"),
        ("http://localhost:9000", Auto, "photos", "http://localhost:9000/photos/k"),
        ("http://localhost:9000", VirtualHost, "photos", "http://photos.localhost:9000/k"),
        ("https://gw.example/base", Path, "photos", "https://gw.example/base/photos/k"),
        ("https://gw.example/base/", VirtualHost, "photos", "https://photos.gw.example/base/k"),
        ("http://[::1]:9000", Auto, "photos", "http://[::1]:9000/photos/k"),
    ] {
        let endpoint = Endpoint::parse(url, "auto", addressing).unwrap();
        assert_eq!(endpoint.bucket(bucket).unwrap().uri(Some("k"), "").unwrap().to_string(), expected);
    }
    for bad in ["", "ab", "a/b", "..", "a..b", ".abc", "a b", "bücket", "a?b", "a@b.c", "abc:80", &"a".repeat(256)] {
        assert!(endpoint("https://s3.example.com").bucket(bad).is_err(), "{bad}");
    }
}

#[test]
fn targets_are_never_normalized() {
    let path = endpoint("https://s3.example.com").bucket("photos").unwrap();
    let host = endpoint("https://s3.amazonaws.com").bucket("photos").unwrap();
    for (key, query, expected) in [
        (Some("a/../b//./c"), "", "/a/../b//./c"),
        (Some("/"), "", "//"),
        (Some(".."), "", "/.."),
        (Some("a?b#c"), "uploads", "/a%3Fb%23c?uploads"),
        (None, "list-type=2", "?list-type=2"),
    ] {
        let target = |uri: http::Uri| uri.path_and_query().unwrap().to_string();
        assert_eq!(target(path.uri(key, query).unwrap()), format!("/photos{expected}"));
        let expected = if key.is_none() { format!("/{expected}") } else { expected.to_owned() };
        assert_eq!(target(host.uri(key, query).unwrap()), expected);
    }
}

#[test]
fn objects_are_asked_for_as_they_are_stored() {
    assert_eq!(endpoint("https://storage.googleapis.com").accept_encoding(), "gzip");
    assert_eq!(endpoint("https://s3.amazonaws.com").accept_encoding(), "identity");
    assert_eq!(endpoint("https://storage.googleapis.com.example").accept_encoding(), "identity");
}

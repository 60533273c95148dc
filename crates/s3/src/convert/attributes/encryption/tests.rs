use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use s3s::dto::ServerSideEncryption;
use umbra_core::{BucketName, Encryption, Timestamp};
use umbra_meta::{Partition, Revision};
use umbra_store::{Bucket, BucketSettings, DefaultEncryption, DefaultKmsKey, Extras, Sealing};

use super::{Asked, asked, customer_key, refuse_on_read, shown};

const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
const KEY_MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

fn bucket(encryption: Option<DefaultEncryption>) -> Bucket {
    Bucket {
        name: BucketName::parse("photos").unwrap(),
        partition: Partition(1),
        organization: "acme".to_owned(),
        created: Timestamp::default(),
        settings: BucketSettings { extras: Arc::new(Extras { encryption, ..Extras::default() }), ..BucketSettings::default() },
        revision: Revision(1),
        taken_in: None,
    }
}

fn kms(key: &str, dual: bool, bucket_key: bool) -> Sealing {
    Sealing::Ours(Encryption::Kms { key: key.to_owned(), dual, bucket_key, context: None })
}

fn code(asks: Asked<'_>, bucket: &Bucket) -> String {
    asked(asks, bucket).unwrap_err().into_code_and_message().0
}

#[test]
fn what_is_asked_for_goes_before_the_default() {
    let algorithm = ServerSideEncryption::from_static;
    let (aes, aws_kms, dsse) = (algorithm("AES256"), algorithm("aws:kms"), algorithm("aws:kms:dsse"));
    let by_kms = DefaultEncryption {
        kms: Some(DefaultKmsKey { key: Some("one".to_owned()), dual: false }),
        bucket_key: Some(true),
        blocks_customer_keys: false,
    };
    let (plain, keyed) = (bucket(None), bucket(Some(by_kms)));
    let with = |algorithm| Asked { algorithm: Some(algorithm), ..Asked::default() };
    let managed = Sealing::Ours(Encryption::Managed);
    let cases = [
        (Asked::default(), &plain, None),
        (Asked::default(), &keyed, Some(kms("one", false, true))),
        (with(&aes), &keyed, Some(managed)),
        (with(&aws_kms), &plain, Some(kms("aws/s3", false, false))),
        (with(&aws_kms), &keyed, Some(kms("aws/s3", false, true))),
        (Asked { kms_key: Some("two"), bucket_key: Some(false), ..with(&aws_kms) }, &keyed, Some(kms("two", false, false))),
        (Asked { kms_key: Some("two"), bucket_key: Some(true), ..with(&dsse) }, &plain, Some(kms("two", true, false))),
    ];
    for (index, (asks, bucket, expected)) in cases.into_iter().enumerate() {
        assert_eq!(asked(asks, bucket).unwrap(), expected, "case {index}");
    }
    let customer =
        Asked { customer_algorithm: Some("AES256"), customer_key: Some(KEY), customer_key_md5: Some(KEY_MD5), ..Asked::default() };
    let told = asked(customer, &keyed).unwrap().unwrap().told();
    assert_eq!(told, Encryption::Customer { key_md5: KEY_MD5.to_owned() });
    let blocking = bucket(Some(DefaultEncryption { kms: None, bucket_key: None, blocks_customer_keys: true }));
    assert_eq!(code(customer, &blocking), "AccessDenied");
    assert_eq!(code(Asked { algorithm: Some(&aes), ..customer }, &plain), "InvalidArgument");
}

#[test]
fn contradictions_are_refused() {
    let algorithm = ServerSideEncryption::from_static;
    let (aes, aws_kms, wrong) = (algorithm("AES256"), algorithm("aws:kms"), algorithm("aes:kms"));
    let plain = bucket(None);
    for asks in [
        Asked { kms_key: Some("one"), ..Asked::default() },
        Asked { context: Some("e30="), ..Asked::default() },
        Asked { algorithm: Some(&aes), kms_key: Some("one"), ..Asked::default() },
        Asked { algorithm: Some(&aes), context: Some("e30="), ..Asked::default() },
        Asked { algorithm: Some(&wrong), ..Asked::default() },
        Asked { algorithm: Some(&aws_kms), context: Some("{}"), ..Asked::default() },
        Asked { algorithm: Some(&aws_kms), context: Some("W10="), ..Asked::default() },
    ] {
        assert_eq!(code(asks, &plain), "InvalidArgument");
    }
    assert!(asked(Asked { algorithm: Some(&aws_kms), context: Some("e30="), ..Asked::default() }, &plain).is_ok());
}

#[test]
fn a_customers_key_comes_whole() {
    let taken = |algorithm, key, md5| customer_key(algorithm, key, md5).map_err(|error| error.into_code_and_message().0);
    assert_eq!(taken(None, None, None).unwrap(), None);
    assert_eq!(taken(Some("AES256"), Some(KEY), Some(KEY_MD5)).unwrap().unwrap().md5(), KEY_MD5);
    let cases = [
        (None, Some(KEY), Some(KEY_MD5), "InvalidArgument"),
        (Some("AES256"), None, Some(KEY_MD5), "InvalidArgument"),
        (Some("AES256"), Some(KEY), None, "InvalidArgument"),
        (Some("AES256"), Some(KEY), Some("AAAAAAAAAAAAAAAAAAAAAA=="), "InvalidArgument"),
        (Some("AES128"), Some(KEY), Some(KEY_MD5), "InvalidEncryptionAlgorithmError"),
    ];
    for (algorithm, key, md5, expected) in cases {
        assert_eq!(taken(algorithm, key, md5).unwrap_err(), expected, "{algorithm:?} {md5:?}");
    }
}

#[test]
fn reads_do_not_say_how_to_encrypt() {
    let mut headers = HeaderMap::new();
    assert!(refuse_on_read(&headers).is_ok());
    headers.insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
    assert_eq!(refuse_on_read(&headers).unwrap_err().into_code_and_message().0, "InvalidArgument");
}

#[test]
fn what_is_shown_says_no_more_than_it_should() {
    assert!(shown(None).algorithm.is_none());
    let managed = shown(Some(&Encryption::Managed));
    assert_eq!((managed.algorithm.unwrap().as_str(), managed.kms_key, managed.bucket_key), ("AES256", None, None));
    let customers = shown(Some(&Encryption::Customer { key_md5: KEY_MD5.to_owned() }));
    assert!(customers.algorithm.is_none());
    assert_eq!(customers.customer_algorithm.as_deref(), Some("AES256"));
    assert_eq!(customers.customer_key_md5.as_deref(), Some(KEY_MD5));
}

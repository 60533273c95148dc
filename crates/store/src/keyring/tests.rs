use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use umbra_core::{Encryption, ErrorKind, Fault, SeededRandom};

use super::{
    CustomerKey, Keyring, Seal, Sealing,
    customer_key::{check_part, check_read},
};

fn keyring(kek: u8, names: &[(&str, Option<[u8; 32]>)]) -> Keyring {
    let names = names.iter().map(|(name, material)| ((*name).to_owned(), *material));
    Keyring::new([kek; 32], names, Arc::new(SeededRandom::new(1)))
}

fn kms(key: &str) -> Sealing {
    Sealing::Ours(Encryption::Kms { key: key.to_owned(), dual: false, bucket_key: false, context: None })
}

fn customer(byte: u8) -> CustomerKey {
    CustomerKey::parse(&BASE64.encode([byte; 32]), &BASE64.encode(Md5::digest([byte; 32]))).unwrap()
}

const MANAGED: Sealing = Sealing::Ours(Encryption::Managed);

#[test]
fn a_data_key_comes_back() {
    let ring = keyring(1, &[("one", None)]);
    for (sealing, key) in [(MANAGED, None), (kms("one"), None), (Sealing::Customer(customer(7)), Some(customer(7)))] {
        let (seal, data_key) = ring.seal(&sealing).unwrap();
        assert_eq!(*ring.unseal(&seal, key.as_ref()).unwrap().0, *data_key.0, "{sealing:?}");
        assert!(seal.wrapped.windows(32).all(|window| window != &data_key.0[..]), "{sealing:?}");
        assert_ne!(ring.seal(&sealing).unwrap().0, seal, "{sealing:?}");
    }
}

#[test]
fn a_data_key_opens_with_its_own_root_only() {
    let ring = keyring(1, &[("one", None), ("two", None)]);
    let kind = |ring: &Keyring, seal: &Seal, key: Option<&CustomerKey>| ring.unseal(seal, key).err().map(|error| error.kind());
    let (managed, _) = ring.seal(&MANAGED).unwrap();
    assert_eq!(kind(&keyring(2, &[]), &managed, None), Some(ErrorKind::Corrupt));
    let (named, _) = ring.seal(&kms("one")).unwrap();
    assert_eq!(kind(&keyring(1, &[]), &named, None), Some(ErrorKind::Invalid(Fault::KmsKeyNotFound)));
    assert_eq!(kind(&keyring(1, &[("one", Some([9; 32]))]), &named, None), Some(ErrorKind::Corrupt));
    let renamed = Seal { wrapping: super::Wrapping::Named("two".to_owned()), ..named };
    assert_eq!(kind(&ring, &renamed, None), Some(ErrorKind::Corrupt));
    let (customers, _) = ring.seal(&Sealing::Customer(customer(7))).unwrap();
    assert_eq!(kind(&ring, &customers, Some(&customer(8))), Some(ErrorKind::Invalid(Fault::InvalidRequest)));
    assert_eq!(kind(&ring, &customers, None), Some(ErrorKind::Invalid(Fault::InvalidRequest)));
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let ring = keyring(1, &[]);
    let (seal, _) = ring.seal(&MANAGED).unwrap();
    for at in 0..seal.wrapped.len() {
        let mut changed = seal.clone();
        changed.wrapped[at] ^= 1;
        assert_eq!(ring.unseal(&changed, None).err().map(|error| error.kind()), Some(ErrorKind::Corrupt), "byte {at}");
    }
}

#[test]
fn an_etag_hides_the_md5_where_s3_hides_it() {
    let ring = keyring(1, &[("one", None), ("two", None)]);
    let tag = |sealing: &Sealing, md5| ring.tag(sealing, &[md5; 16]).unwrap();
    assert_eq!(tag(&MANAGED, 1), None);
    let theirs = |byte| Sealing::Customer(customer(byte));
    let tags = [tag(&kms("one"), 1), tag(&kms("one"), 2), tag(&kms("two"), 1), tag(&theirs(7), 1), tag(&theirs(8), 1)];
    for (at, one) in tags.iter().enumerate() {
        assert_ne!(*one, Some([1; 16]));
        assert!(tags[..at].iter().all(|other| other != one), "{at}");
    }
    assert_eq!(tag(&kms("alias/one"), 1), tags[0]);
}

#[test]
fn what_was_wrapped_once_opens_for_ever() {
    let golden = crate::record::golden::check("data_key/v1", None);
    let seal = Seal { wrapping: super::Wrapping::Named("golden".to_owned()), wrapped: golden.try_into().unwrap() };
    assert!(keyring(1, &[("golden", None)]).unseal(&seal, None).is_ok());
}

#[test]
fn keys_are_named_in_several_ways() {
    let ring = keyring(1, &[("one", None)]);
    for id in [
        "one",
        "alias/one",
        "arn:aws:kms:eu-central-1:111122223333:key/one",
        "arn:aws:kms:eu-central-1:111122223333:alias/one",
        "aws/s3",
        "alias/aws/s3",
        "arn:aws:kms:eu-central-1:111122223333:alias/aws/s3",
    ] {
        assert!(ring.check(id).is_ok(), "{id}");
    }
    for id in ["", "two", "arn:aws:kms", "arn:aws:kms:eu-central-1:111122223333:key/two", "key/one"] {
        assert_eq!(ring.check(id).unwrap_err().kind(), ErrorKind::Invalid(Fault::KmsKeyNotFound), "{id}");
    }
}

#[test]
fn a_customers_key_is_held_to_its_md5() {
    let (key, md5) = (BASE64.encode([7; 32]), BASE64.encode(Md5::digest([7; 32])));
    assert_eq!(CustomerKey::parse(&key, &md5).unwrap().md5(), md5);
    let short = BASE64.encode([7; 16]);
    for (key, md5) in [(&key, &short), (&short, &md5), (&String::new(), &md5), (&"!".to_owned(), &md5)] {
        assert_eq!(CustomerKey::parse(key, md5).unwrap_err().kind(), ErrorKind::Invalid(Fault::InvalidArgument));
    }
}

#[test]
fn nothing_secret_is_shown() {
    let ring = keyring(0x41, &[("one", Some([0x42; 32]))]);
    let (seal, _) = ring.seal(&Sealing::Customer(customer(0x43))).unwrap();
    let shown = format!("{ring:?} {seal:?} {:?}", Sealing::Customer(customer(0x43)));
    assert_eq!(shown, "Keyring { named: [\"aws/s3\", \"one\"], .. } Seal { wrapping: Customer, .. } Customer(CustomerKey)");
}

#[test]
fn readers_send_the_key_where_it_applies() {
    let theirs = Encryption::Customer { key_md5: customer(7).md5().to_owned() };
    let cases = [
        (None, None, true, true),
        (None, Some(customer(7)), false, false),
        (Some(Encryption::Managed), None, true, true),
        (Some(Encryption::Managed), Some(customer(7)), false, false),
        (Some(theirs.clone()), None, false, false),
        (Some(theirs.clone()), Some(customer(8)), false, false),
        (Some(theirs), Some(customer(7)), true, true),
    ];
    for (encryption, given, reads, writes) in cases {
        assert_eq!(check_read(encryption.as_ref(), given.as_ref()).is_ok(), reads, "{encryption:?} {given:?}");
        assert_eq!(check_part(encryption.as_ref(), given.as_ref()).is_ok(), writes, "{encryption:?} {given:?}");
    }
}

//! Golden records: the bytes of every format version, which must stay readable.

use std::{fs, path::Path};

/// The bytes of `testdata/<name>.bin`, after checking that `written` (what is written today) is the same, when given.
///
/// When the file does not exist it is made from `written` and the test fails: look at it and commit it.
pub(crate) fn check(name: &str, written: Option<&[u8]>) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.bin"));
    match (fs::read(&path), written) {
        (Ok(golden), Some(written)) if golden != written => {
            panic!("{name} is written differently than it was released: give the new form a new version")
        }
        (Ok(golden), _) => golden,
        (Err(_), Some(written)) => {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, written).unwrap();
            panic!("{name} had no golden file; it has one now: look at it, then commit it")
        }
        (Err(error), None) => panic!("{name}: {error}"),
    }
}

/// Checks that `decode` refuses every truncation of `bytes`, foreign versions and trailing garbage, and never panics.
pub(crate) fn check_refusals<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> umbra_core::Result<T>) {
    let refused = |bytes: &[u8]| decode(bytes).err().map(|error| error.kind()) == Some(umbra_core::ErrorKind::Corrupt);
    for end in 0..bytes.len() {
        assert!(refused(&bytes[..end]), "cut off at {end}");
    }
    let mut foreign = bytes.to_vec();
    foreign[0] = 0xff;
    assert!(refused(&foreign), "foreign version");
    assert!(refused(&[bytes, b"\0"].concat()), "trailing byte");
}

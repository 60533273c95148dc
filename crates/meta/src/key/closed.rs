//! Fields that something follows: escaped and terminated, in an order-preserving way.

const ESCAPED_ZERO: u8 = 0xff;
const END: [u8; 2] = [0, 1];

/// `family` and `field`, closed.
pub(super) fn joined(family: &[u8], field: &[u8]) -> Vec<u8> {
    let mut bytes = open_joined(family, field);
    bytes.extend_from_slice(&END);
    bytes
}

/// `family` and the beginning of a closed field: a prefix of every closed field that begins with `field`.
pub(super) fn open_joined(family: &[u8], field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(family.len() + field.len() + END.len());
    bytes.extend_from_slice(family);
    for byte in field {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(ESCAPED_ZERO);
        }
    }
    bytes
}

/// The field that `bytes` begin with, and what follows it; `None` when it is not well-formed.
pub(super) fn split(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut field = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let zero = rest.iter().position(|byte| *byte == 0)?;
        field.extend_from_slice(&rest[..zero]);
        let (pair, behind) = rest[zero..].split_first_chunk()?;
        rest = behind;
        match pair {
            &END => return Some((field, rest)),
            [0, ESCAPED_ZERO] => field.push(0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{joined, open_joined, split};

    /// Bytes among which the ones that matter to the encoding are frequent.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..12)
    }

    #[test]
    fn malformed_fields_are_refused() {
        for bad in [&b""[..], b"a", b"a\0", b"a\0\x02", b"\0\xff"] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_closed_field_comes_back_with_what_follows_it(a in field(), tail in field()) {
            let bytes = [joined(b"", &a), tail.clone()].concat();
            prop_assert_eq!(split(&bytes), Some((a, &tail[..])));
        }

        #[test]
        fn closed_fields_sort_by_field_whatever_follows(a in field(), b in field(), left in field(), right in field()) {
            prop_assume!(a != b);
            let with = |field: &[u8], tail: &[u8]| [&joined(b"", field)[..], tail].concat();
            prop_assert_eq!(with(&a, &left).cmp(&with(&b, &right)), a.cmp(&b));
        }

        #[test]
        fn the_open_form_is_a_prefix_of_exactly_the_fields_it_begins(a in field(), b in field()) {
            prop_assert_eq!(joined(b"", &b).starts_with(&open_joined(b"", &a)), b.starts_with(&a));
        }
    }
}

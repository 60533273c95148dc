//! Root `N/<incarnation>` and `L/leader`: a node, and the one that leads. All of it is in the body: a format version, then CBOR.

use minicbor::{Decode, Encode};
use umbra_core::{Error, ErrorKind, Result};
use umbra_meta::Declaration;

const VERSION: u8 = 1;

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct NodeRecord {
    /// What its operator calls it.
    #[n(0)]
    pub(crate) name: String,
    /// Where other nodes reach it; empty when they cannot.
    #[n(1)]
    pub(crate) url: String,
    /// Its region.
    #[n(2)]
    pub(crate) region: String,
    /// Grows while it lives.
    #[n(3)]
    pub(crate) turn: u64,
    /// When it joined, by its own clock, in milliseconds.
    #[n(4)]
    pub(crate) since: i64,
    /// Which start of which machine it runs on; empty where that cannot be told.
    #[n(5)]
    pub(crate) boot: String,
    /// The replica of the metadata that it reads, if it is to.
    #[n(6)]
    pub(crate) replica: Option<ReplicaRecord>,
    /// The regions whose contents it knows, none in a store without regions; nothing where its release does not tell.
    #[n(7)]
    pub(crate) regions: Option<Vec<String>>,
}

/// A replica of the metadata, as the node tells of it that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ReplicaRecord {
    /// The server, by when it was started; nothing while there is none of use.
    #[n(0)]
    pub(crate) server: Option<i64>,
    /// Whether it is read.
    #[n(1)]
    pub(crate) is_trusted: bool,
    /// For how many milliseconds it has not been known to have everything.
    #[n(2)]
    pub(crate) behind_ms: u64,
}

impl From<Declaration> for ReplicaRecord {
    fn from(Declaration { server, is_trusted, behind_ms }: Declaration) -> Self {
        Self { server, is_trusted, behind_ms }
    }
}

impl From<ReplicaRecord> for Declaration {
    fn from(ReplicaRecord { server, is_trusted, behind_ms }: ReplicaRecord) -> Self {
        Self { server, is_trusted, behind_ms }
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LeaderRecord {
    /// Its incarnation; empty when nobody does.
    #[n(0)]
    pub(crate) incarnation: String,
    /// Grows while it lives.
    #[n(1)]
    pub(crate) turn: u64,
    /// Whether it answers for the others already.
    #[n(2)]
    pub(crate) is_ready: bool,
}

pub(crate) fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    minicbor::encode(record, &mut bytes).expect("a vector takes every byte");
    bytes
}

pub(crate) fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "the record of a node is not one that this release knows");
    match bytes.split_first() {
        Some((&VERSION, cbor)) => minicbor::decode(cbor).map_err(|_| corrupt()),
        _ => Err(corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use super::{LeaderRecord, NodeRecord, ReplicaRecord, decode, encode};

    /// What was released is read for ever.
    #[test]
    fn every_released_format_is_read() {
        let (name, url, region, boot) = ("a".into(), "http://h:1".into(), "fra".into(), "b".into());
        let node = NodeRecord { name, url, region, turn: 7, since: 8, boot, replica: None, regions: None };
        let bytes = hex::decode("01866161".to_owned() + "6a687474703a2f2f683a31" + "63667261" + "07" + "08" + "6162").unwrap();
        assert_eq!(decode::<NodeRecord>(&bytes).unwrap(), node);
        assert_eq!(encode(&node), bytes);
        let replica = Some(ReplicaRecord { server: Some(9), is_trusted: true, behind_ms: 250 });
        let node = NodeRecord { replica, ..node };
        let bytes =
            hex::decode("01876161".to_owned() + "6a687474703a2f2f683a31" + "63667261" + "07" + "08" + "6162" + "8309f518fa").unwrap();
        assert_eq!(decode::<NodeRecord>(&bytes).unwrap(), node);
        assert_eq!(encode(&node), bytes);
        let node = NodeRecord { replica: None, regions: Some(vec!["fra".into(), "iad".into()]), ..node };
        let bytes =
            hex::decode("01886161".to_owned() + "6a687474703a2f2f683a31" + "63667261" + "07" + "08" + "6162" + "f6" + "826366726163696164")
                .unwrap();
        assert_eq!(decode::<NodeRecord>(&bytes).unwrap(), node);
        assert_eq!(encode(&node), bytes);
        let leader = LeaderRecord { incarnation: "a-1".into(), turn: 3, is_ready: true };
        let bytes = hex::decode("0183".to_owned() + "63612d31" + "03" + "f5").unwrap();
        assert_eq!(decode::<LeaderRecord>(&bytes).unwrap(), leader);
        assert_eq!(encode(&leader), bytes);
    }

    #[test]
    fn damage_is_refused() {
        for bytes in [&b""[..], b"\x01", b"\x02\x80", b"\x01\x83\x00"] {
            assert!(decode::<LeaderRecord>(bytes).is_err());
        }
    }
}

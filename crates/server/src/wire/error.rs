//! Why a server does not start, each in one line.

use std::{io, net::SocketAddr, path::PathBuf};

use umbra_client::CidrError;
use umbra_core::ErrorKind;
use umbra_s3::RegionMapError;

use crate::{
    blob_place::BlobKeyError, data_dir::DataDirError, kms_keys::KmsKeyError, master_key::MasterKeyError, private_file::FileError,
    root_key::RootKeyError, tls::TlsError,
};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no key to seal secrets with.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The named keys cannot be used.
    #[error(transparent)]
    KmsKeys(#[from] KmsKeyError),
    /// Contents cannot be kept where they should be.
    #[error("the setting blobs cannot be used: {0}")]
    BlobPlace(String),
    /// The other servers on these metadata keep the contents elsewhere.
    #[error(
        "the contents of this store are kept at {found}, and this server would keep them at {given}: give `blobs` as everywhere; servers that share metadata need a bucket for them"
    )]
    OtherContents {
        /// Where they are.
        found: String,
        /// Where they were to be.
        given: String,
    },
    /// The contents are on the disk of another server.
    #[error(
        "the contents of this store are in {found} (its file `node`), and this is {given}: start with that directory; servers that share metadata need a bucket for contents"
    )]
    OtherDisk {
        /// Where they are.
        found: String,
        /// Where they were to be.
        given: String,
    },
    /// The nodes of the store keep the contents of a region elsewhere.
    #[error("the contents of region {region} are kept at {found}, and the setting {setting} has them at {given}: give it as everywhere")]
    OtherContentsIn {
        /// Its name.
        region: String,
        /// What names the place.
        setting: &'static str,
        /// Where they are.
        found: String,
        /// Where they were to be.
        given: String,
    },
    /// The store has a region that this server was not told of.
    #[error(
        "this store has contents in region {region}, at {found}: give `region_blobs` for every other region; what a region is called stays"
    )]
    UnknownRegion {
        /// Its name.
        region: String,
        /// Where its contents are.
        found: String,
    },
    /// The contents from before there were regions are in none of them.
    #[error("what this store has from before it had regions is at {found}: one of the regions has to have its contents there")]
    NoFirstRegion {
        /// Where they are.
        found: String,
    },
    /// What is at the place of contents is not the store's.
    #[error(
        "there is no object {key} in {place} at {endpoint}, by which this store knows its contents: mend the endpoint in the setting {setting}; if it was wrong at whoever began the store, if these are its contents all the same, or if they are lost, put an object of that name there, and take it away from where it should not be"
    )]
    NotTheContents {
        /// What names the place.
        setting: &'static str,
        /// Its name.
        place: String,
        /// Where it was looked for.
        endpoint: String,
        /// What was missing there.
        key: String,
    },
    /// It cannot be told whether what is at the place of contents is the store's.
    #[error("cannot tell whether {place} at {endpoint} has the contents of this store, by {asked_for}")]
    UnknownContents {
        /// Its name.
        place: String,
        /// Where it was looked for.
        endpoint: String,
        /// What tells.
        asked_for: String,
        /// The cause.
        #[source]
        source: umbra_blob::Error,
    },
    /// The bucket for contents cannot be used.
    #[error("cannot open the contents in {place} at {endpoint}, which the setting blobs names")]
    Bucket {
        /// Its name as a place.
        place: String,
        /// Where it is asked for.
        endpoint: String,
        /// The cause.
        #[source]
        source: umbra_blob::Error,
    },
    /// The data directory has a store, and the database none.
    #[error(
        "the buckets in {0} are not in the database that the setting metadata names, which has none: bring them there by `umbra metadata export` and `umbra metadata import`, or move that file away"
    )]
    LeftBehind(PathBuf),
    /// A setting makes no sense.
    #[error("the setting {0} {1}")]
    Setting(&'static str, String),
    /// What says which region is nearest cannot be used.
    #[error("cannot use {0} for the setting region_map")]
    RegionMap(PathBuf, #[source] RegionMapError),
    /// There is no key for the place of contents.
    #[error(transparent)]
    BlobKey(#[from] BlobKeyError),
    /// There is no root access key.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The other nodes have another one.
    #[error(
        "the store has another root key than UMBRA_ROOT_ACCESS_KEY and UMBRA_ROOT_SECRET_KEY give: start this node with the same as the others; to replace it, stop all nodes first"
    )]
    OtherRootKey,
    /// The address that others are told leads to another node.
    #[error("another node answers at {0}: give in --node-url where this one is reached")]
    OthersAddress(String),
    /// The store has none any more.
    #[error("the store has no root access key any more")]
    NoRootKey,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A network shadows may point into is not one.
    #[error("the setting shadow_allow_cidr: {0} is not a network")]
    Network(String, #[source] CidrError),
    /// It may be meant to be one.
    #[error("the setting shadow_allow_cidr: {0} has no length: write {0}/N, with N the bits that all its addresses share")]
    NetworkLength(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// What it is for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The address listened on is not known.
    #[error("cannot tell the address listened on")]
    Address(#[source] io::Error),
    /// An engine does not open.
    #[error("cannot {doing}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was begun with another key-encryption key.
    #[error("cannot open the catalog")]
    OtherMasterKey(#[source] umbra_core::Error),
    /// A store cannot be worked with.
    #[error("cannot {doing}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: umbra_core::Error,
    },
}

impl StartError {
    /// Says what could not be done.
    pub(crate) fn store<E: Into<umbra_core::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Store { doing, source: source.into() }
    }
}

impl StartError {
    /// The catalog does not open. What it refuses is the key-encryption key.
    pub(super) fn catalog(error: umbra_core::Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid(_) => Self::OtherMasterKey(error),
            _ => Self::store("open the catalog")(error),
        }
    }

    /// This server cannot join the others.
    pub(super) fn company(error: umbra_cluster::JoinError) -> Self {
        Self::Engine { doing: "join the nodes of the store", source: Box::new(error) }
    }

    /// The metadata does not open. The engine's own words say more than the kind.
    pub(super) fn meta(error: umbra_meta::Error) -> Self {
        Self::Engine { doing: "open the metadata", source: Box::new(error) }
    }

    /// The contents on this machine, or what is kept here of those elsewhere, do not open.
    pub(super) fn blobs(error: umbra_blob::Error) -> Self {
        Self::Engine { doing: "open the contents", source: Box::new(error) }
    }
}

//! Between s3s's types and ours.

pub(crate) mod attributes;
pub(crate) mod checksum;
pub(crate) mod conditions;
pub(crate) mod encoding;
pub(crate) mod headers;
pub(crate) mod hoisted;
pub(crate) mod integrity;
pub(crate) mod lifecycle;
pub(crate) mod tags;
pub(crate) mod time;
pub(crate) mod version;

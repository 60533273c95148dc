//! Fields that several records hold. They belong to format version 1 of each of them: a change is a new form beside the old one.

use std::{fmt::Display, str::FromStr};

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    encode::{self, Write},
};
use umbra_blob::BlobId;
use umbra_core::{Checksum, ChecksumAlgorithm, ChecksumType, SystemHeaders, Tags, UserMetadata};

use crate::{Extent, Seal, Wrapping};

/// Names and values, in order of the names.
pub(super) type Pairs<'b> = Vec<(&'b str, &'b str)>;

/// What is kept as its text.
pub(super) struct Text<T>(pub(super) T);

impl<C, T: Display> Encode<C> for Text<T> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&self.0.to_string())?.ok()
    }
}

impl<'b, C, T: FromStr<Err: Display>> Decode<'b, C> for Text<T> {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        decoder.str()?.parse().map(Self).map_err(minicbor::decode::Error::message)
    }
}

/// Stored headers but the storage class.
#[derive(Encode, Decode)]
pub(super) struct Headers<'b> {
    #[b(0)]
    content_type: Option<&'b str>,
    #[b(1)]
    cache_control: Option<&'b str>,
    #[b(2)]
    content_disposition: Option<&'b str>,
    #[b(3)]
    content_encoding: Option<&'b str>,
    #[b(4)]
    content_language: Option<&'b str>,
    #[b(5)]
    expires: Option<&'b str>,
    #[b(6)]
    website_redirect_location: Option<&'b str>,
}

impl<'b> Headers<'b> {
    pub(super) fn of(headers: &'b SystemHeaders) -> Self {
        Self {
            content_type: headers.content_type.as_deref(),
            cache_control: headers.cache_control.as_deref(),
            content_disposition: headers.content_disposition.as_deref(),
            content_encoding: headers.content_encoding.as_deref(),
            content_language: headers.content_language.as_deref(),
            expires: headers.expires.as_deref(),
            website_redirect_location: headers.website_redirect_location.as_deref(),
        }
    }

    pub(super) fn with_storage_class(&self, storage_class: Option<&str>) -> SystemHeaders {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        SystemHeaders {
            content_type: owned(self.content_type),
            cache_control: owned(self.cache_control),
            content_disposition: owned(self.content_disposition),
            content_encoding: owned(self.content_encoding),
            content_language: owned(self.content_language),
            expires: owned(self.expires),
            website_redirect_location: owned(self.website_redirect_location),
            storage_class: owned(storage_class),
        }
    }
}

pub(super) fn metadata(pairs: Pairs<'_>) -> UserMetadata {
    UserMetadata::new(owned(pairs))
}

pub(super) fn tags(pairs: Pairs<'_>) -> Tags {
    Tags::new(owned(pairs))
}

fn owned(pairs: Pairs<'_>) -> impl Iterator<Item = (String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// A checksum: its algorithm, what it covers, and its value as S3 writes it.
#[derive(Encode, Decode)]
pub(super) struct Sum<'b> {
    #[n(0)]
    algorithm: Algorithm,
    #[n(1)]
    covers: Covers,
    #[b(2)]
    value: &'b str,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Algorithm {
    #[n(0)]
    Crc32,
    #[n(1)]
    Crc32c,
    #[n(2)]
    Crc64Nvme,
    #[n(3)]
    Sha1,
    #[n(4)]
    Sha256,
    #[n(5)]
    Sha512,
    #[n(6)]
    Md5,
    #[n(7)]
    XxHash64,
    #[n(8)]
    XxHash3,
    #[n(9)]
    XxHash128,
}

#[derive(Clone, Copy, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Covers {
    #[n(0)]
    FullObject,
    #[n(1)]
    Composite,
}

pub(super) fn sums(checksums: &[Checksum]) -> Vec<Sum<'_>> {
    checksums.iter().map(|sum| Sum { algorithm: sum.algorithm.into(), covers: sum.kind.into(), value: &sum.value }).collect()
}

pub(super) fn checksums(sums: Vec<Sum<'_>>) -> Vec<Checksum> {
    let checksum = |sum: Sum<'_>| Checksum { algorithm: sum.algorithm.into(), kind: sum.covers.into(), value: sum.value.to_owned() };
    sums.into_iter().map(checksum).collect()
}

impl From<ChecksumAlgorithm> for Algorithm {
    fn from(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32,
            ChecksumAlgorithm::Crc32c => Self::Crc32c,
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64Nvme,
            ChecksumAlgorithm::Sha1 => Self::Sha1,
            ChecksumAlgorithm::Sha256 => Self::Sha256,
            ChecksumAlgorithm::Sha512 => Self::Sha512,
            ChecksumAlgorithm::Md5 => Self::Md5,
            ChecksumAlgorithm::XxHash64 => Self::XxHash64,
            ChecksumAlgorithm::XxHash3 => Self::XxHash3,
            ChecksumAlgorithm::XxHash128 => Self::XxHash128,
        }
    }
}

impl From<Algorithm> for ChecksumAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32,
            Algorithm::Crc32c => Self::Crc32c,
            Algorithm::Crc64Nvme => Self::Crc64Nvme,
            Algorithm::Sha1 => Self::Sha1,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512 => Self::Sha512,
            Algorithm::Md5 => Self::Md5,
            Algorithm::XxHash64 => Self::XxHash64,
            Algorithm::XxHash3 => Self::XxHash3,
            Algorithm::XxHash128 => Self::XxHash128,
        }
    }
}

impl From<ChecksumType> for Covers {
    fn from(kind: ChecksumType) -> Self {
        match kind {
            ChecksumType::FullObject => Self::FullObject,
            ChecksumType::Composite => Self::Composite,
        }
    }
}

impl From<Covers> for ChecksumType {
    fn from(covers: Covers) -> Self {
        match covers {
            Covers::FullObject => Self::FullObject,
            Covers::Composite => Self::Composite,
        }
    }
}

/// The wrapped key of encrypted content.
#[derive(Encode, Decode)]
pub(super) struct Sealed<'b> {
    #[b(0)]
    wrapping: WrappedWith<'b>,
    #[b(1)]
    wrapped: &'b minicbor::bytes::ByteSlice,
}

#[derive(Encode, Decode)]
enum WrappedWith<'b> {
    #[n(0)]
    Managed,
    #[n(1)]
    Named(#[b(0)] &'b str),
    #[n(2)]
    Customer,
}

impl<'b> Sealed<'b> {
    pub(super) fn of(seal: &'b Seal) -> Self {
        let wrapping = match &seal.wrapping {
            Wrapping::Managed => WrappedWith::Managed,
            Wrapping::Named(name) => WrappedWith::Named(name),
            Wrapping::Customer => WrappedWith::Customer,
        };
        Self { wrapping, wrapped: seal.wrapped[..].into() }
    }

    /// The seal, unless it is impossible.
    pub(super) fn into_seal(self) -> Option<Box<Seal>> {
        let wrapping = match self.wrapping {
            WrappedWith::Managed => Wrapping::Managed,
            WrappedWith::Named(name) => Wrapping::Named(name.to_owned()),
            WrappedWith::Customer => Wrapping::Customer,
        };
        let wrapped = <&[u8]>::from(self.wrapped).try_into().ok()?;
        Some(Box::new(Seal { wrapping, wrapped }))
    }
}

/// The seals of extents, one for each; nothing where none of them has one.
pub(super) type Seals<'b> = Option<Vec<Option<Sealed<'b>>>>;

pub(super) fn seals(extents: &[Extent]) -> Seals<'_> {
    let seal = |extent: &'_ Extent| extent.seal.is_some();
    extents.iter().any(seal).then(|| extents.iter().map(|extent| extent.seal.as_deref().map(Sealed::of)).collect())
}

/// A blob that holds the next bytes of a content.
#[derive(Encode, Decode)]
pub(super) struct Stretch<'b> {
    #[b(0)]
    blob: &'b minicbor::bytes::ByteSlice,
    #[n(1)]
    size: u64,
}

pub(super) fn stretches(extents: &[Extent]) -> Vec<Stretch<'_>> {
    extents.iter().map(|extent| Stretch { blob: extent.blob.as_bytes().into(), size: extent.size }).collect()
}

/// The extents, unless one of them is impossible.
pub(super) fn extents(stretches: &[Stretch<'_>], seals: Seals<'_>) -> Option<Vec<Extent>> {
    let extent = |stretch: &Stretch<'_>| {
        let plausible = stretch.blob.len() <= BlobId::BYTES_MAX && stretch.size > 0;
        plausible.then(|| Extent::plain(BlobId::from_bytes(stretch.blob), stretch.size))
    };
    let mut extents = stretches.iter().map(extent).collect::<Option<Vec<_>>>()?;
    if let Some(seals) = seals {
        if seals.len() != extents.len() {
            return None;
        }
        for (extent, seal) in extents.iter_mut().zip(seals) {
            extent.seal = seal.map(Sealed::into_seal).map_or(Some(None), |seal| seal.map(Some))?;
        }
    }
    Some(extents)
}

//! Secrets of access keys, for checking signatures.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    auth::{S3Auth, SecretKey},
};
use umbra_store::Catalog;

use crate::error::Failure;

/// Looks secrets up in the catalog.
#[derive(Debug)]
pub(crate) struct Keys(pub(crate) Arc<Catalog>);

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let key = self.0.key(access_key).await.map_err(Failure::from)?;
        let key = key.ok_or_else(|| S3Error::new(S3ErrorCode::InvalidAccessKeyId))?;
        Ok(SecretKey::from(key.secret.expose()))
    }
}

//! Which store this is, and whether we have its key-encryption key.

use umbra_core::{Error, Fault, Random, Result};
use umbra_meta::{Batch, Error as MetaError, Expect, MetaStore, Partition, key::root};

use crate::{Sealer, record::store_identity::StoreIdentityRecord};

/// The id of the store that `meta` holds; a new one when there is none yet.
pub(super) async fn open(meta: &dyn MetaStore, sealer: &Sealer, random: &dyn Random) -> Result<String> {
    if let Some(entry) = meta.get(Partition::ROOT, &root::store()).await? {
        return known(&entry.body, sealer);
    }
    let id = hex::encode(random.array::<16>());
    let record = StoreIdentityRecord { proof: sealer.seal(&context(&id), &id), id };
    let batch = Batch::new(Partition::ROOT).check(root::store(), Expect::Absent).put(root::store(), "", record.encode());
    match meta.commit(batch).await {
        Ok(_) => Ok(record.id),
        Err(MetaError::Conflict { current: Some(entry), .. }) => known(&entry.body, sealer),
        Err(error) => Err(error.into()),
    }
}

fn known(body: &[u8], sealer: &Sealer) -> Result<String> {
    let record = StoreIdentityRecord::decode(body)?;
    let wrong_key = |error| {
        Error::invalid(
            Fault::InvalidRequest,
            "the key-encryption key is not the one this store was begun with: give that one, by --master-key-file or UMBRA_MASTER_KEY, or the data directory that has it",
        )
        .because(error)
    };
    sealer.open(&context(&record.id), &record.proof).map_err(wrong_key)?;
    Ok(record.id)
}

fn context(id: &str) -> String {
    format!("store/{id}")
}

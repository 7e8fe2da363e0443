//! The change of keys, and the sealing of what was written before there was any.
//!
//! States and what a crash leaves: docs/decisions/0014-sealed-records.md. The file of keys is the only state, so
//! [`Sealed::settle`] goes on from wherever the last one was ended.

use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::{Sealed, envelope, opened};
use crate::error::{Result, StoreError};
use crate::types::{Entry, Expect, Op, Range, Write};

/// Records rewritten at once: they share commits.
const AT_ONCE: usize = 16;

/// What it took to have everything sealed with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Records that were written again.
    pub rewritten: u64,
    /// Of them, those that were not sealed at all.
    pub was_plain: u64,
}

impl Sealed {
    /// From here on a new key seals; returns its id. The old one opens until [`Self::settle`] has done its work.
    ///
    /// # Errors
    /// [`StoreError::KeysUnavailable`], also when the file cannot be written: then nothing has changed.
    pub async fn add_key(&self) -> Result<String> {
        let mut keys = self.0.keys.write().await;
        keys.add()?;
        keys.ids()?.into_iter().next().ok_or(StoreError::Closed)
    }

    /// Seals everything with the newest key and forgets the others. Changes nothing where that is so already.
    ///
    /// # Errors
    /// Those of the store and of the keys; call it again. A record that does not open keeps none of the others from
    /// being sealed, but the keys from being forgotten.
    pub async fn settle(&self) -> Result<Settled> {
        let _turn = self.0.settling.lock().await;
        let (newest, had_unsealed) = {
            let keys = self.0.keys.read().await;
            (keys.ids()?, keys.has_unsealed())
        };
        let settled = self.rewrite().await?;
        let is_settled = settled == Settled::default() && newest.len() == 1 && !had_unsealed;
        if is_settled {
            return Ok(settled);
        }
        // What history has is sealed with old keys, or not at all.
        self.0.store.compact(self.0.store.revision().await?).await?;
        if had_unsealed || settled.was_plain > 0 {
            self.0.store.scrub().await?;
        }
        let mut keys = self.0.keys.write().await;
        // Another key may have come since; the settling that follows it forgets these.
        if keys.ids()? == newest {
            keys.forget_old()?;
        }
        Ok(settled)
    }

    /// Passes over all records until a pass finds nothing to do.
    async fn rewrite(&self) -> Result<Settled> {
        let mut settled = Settled::default();
        loop {
            let (pass, unreadable) = self.pass().await?;
            settled.rewritten += pass.rewritten;
            settled.was_plain += pass.was_plain;
            match unreadable {
                _ if pass.rewritten > 0 => {}
                Some(error) => return Err(error),
                None => return Ok(settled),
            }
        }
    }

    /// Also tells of a record that does not open.
    async fn pass(&self) -> Result<(Settled, Option<StoreError>)> {
        let mut settled = Settled::default();
        let mut unreadable = None;
        for prefix in &self.0.prefixes {
            let page = self.0.store.range(Range::all(prefix.clone())).await?;
            let mut renewals =
                stream::iter(page.entries).map(|entry| self.renew(entry)).buffer_unordered(AT_ONCE);
            while let Some(renewed) = renewals.next().await {
                match renewed {
                    Ok(Renewed::Nothing) => {}
                    Ok(Renewed::Written { was_sealed }) => {
                        settled.rewritten += 1;
                        settled.was_plain += u64::from(!was_sealed);
                    }
                    Err(error @ StoreError::Unreadable { .. }) => unreadable = Some(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((settled, unreadable))
    }

    /// Writes a record again if another key than the first sealed it, or none.
    async fn renew(&self, entry: Arc<Entry>) -> Result<Renewed> {
        let value = {
            let keys = self.0.keys.read().await;
            if keys.is_current(&entry.value)? {
                return Ok(Renewed::Nothing);
            }
            opened(&keys, &entry)?.value.clone()
        };
        let was_sealed = envelope::key_id(&entry.value).is_some();
        let op = Op::Put { value, lease: entry.lease };
        let write = Write {
            key: entry.key.clone(),
            expect: Expect::At(entry.modified),
            op,
            guards: Vec::new(),
            along: Vec::new(),
        };
        match self.write_sealed(write).await {
            // Whoever was faster sealed it with the first key, or the next pass finds it.
            Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {
                Ok(Renewed::Written { was_sealed })
            }
            Err(error) => Err(error),
        }
    }
}

/// What a record needed.
enum Renewed {
    Nothing,
    Written { was_sealed: bool },
}

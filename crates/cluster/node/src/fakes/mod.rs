//! An engine, an API and a drain in memory, which write down what was asked of them in one common diary.

mod api;
mod engine;

pub(crate) use api::FakeApi;
pub(crate) use engine::FakeEngine;

use crate::seams::{EndpointDrain, Images, LocalImage};
use async_trait::async_trait;
use hako_error::{Error, Kind, Result};
use hako_names::ImageRef;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.0.lock().push(text.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A drain whose connections last for some time.
#[derive(Debug)]
pub(crate) struct FakeDrain {
    pub(crate) diary: Diary,
    pub(crate) lasts: Duration,
}

#[async_trait]
impl EndpointDrain for FakeDrain {
    async fn withdraw(&self, _ip: IpAddr, deadline: Instant) -> Result<()> {
        self.diary.note("withdraw");
        tokio::time::sleep_until(deadline.min(Instant::now() + self.lasts)).await;
        self.diary.note("withdrawn");
        Ok(())
    }

    async fn readmit(&self, _ip: IpAddr) -> Result<()> {
        Ok(())
    }
}

/// Images of which all are here whose name does not contain `absent`.
#[derive(Debug)]
pub(crate) struct FakeImages;

#[async_trait]
impl Images for FakeImages {
    async fn find(&self, name: &ImageRef) -> Result<Option<LocalImage>> {
        let image =
            LocalImage { names: vec![name.to_string()], id: "sha256:1".into(), size: 1, user: String::new() };
        Ok(Some(image).filter(|_| !name.to_string().contains("absent")))
    }

    async fn pull(&self, name: &ImageRef) -> Result<LocalImage> {
        Err(Error::new(Kind::Unimplemented, format!("image {name} is not here and pulling is not built yet")))
    }

    async fn list(&self) -> Result<Vec<LocalImage>> {
        Ok(Vec::new())
    }
}

//! Storage version migrations: every stored object of a resource is written once more, so that it is kept in the form
//! in which it would be kept now. Wakes on the migration.
//!
//! A write that changes nothing is no write where an object is kept as it should be: whoever begins again, after a
//! crash, pays for reading what is done already, and no more.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::storagemigration::v1beta1::StorageVersionMigration;

/// Migrations under way at a time.
const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    migrations: Informer<StorageVersionMigration>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller = Controller { client, migrations: informers.get() };
    let queue = WorkQueue::new();
    let key = |migration: &StorageVersionMigration| vec![wiring::key(migration)];
    tokio::join!(
        wiring::follow(controller.migrations.clone(), queue.clone(), key),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}

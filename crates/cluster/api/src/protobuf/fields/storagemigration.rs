//! Migrations of storage versions.

use super::meta::{Condition, ObjectMeta};

messages! {
    GroupResource {
        1 group: text kept, 2 resource: text kept,
    }
    StorageVersionMigration {
        1 metadata: ObjectMeta, 2 spec: StorageVersionMigrationSpec, 3 status: StorageVersionMigrationStatus,
    }
    StorageVersionMigrationSpec {
        1 resource: GroupResource kept,
    }
    StorageVersionMigrationStatus {
        1 conditions: [Condition], 2 resourceVersion: text,
    }
}

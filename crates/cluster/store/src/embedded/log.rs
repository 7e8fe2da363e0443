//! The database below the store: an ordered log of records by revision.

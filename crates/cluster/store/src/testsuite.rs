//! The contract suite that every [`crate::Store`] passes.

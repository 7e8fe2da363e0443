//! End to end: the built `hako`, as root, in a network namespace of its own, driven as users drive it.

mod bad_input;
mod clients;
mod containers;
mod crash;
mod demo;
mod platform;
mod side_by_side;

//! Operators that run in pods of the platform that they extend, of images that it built.

mod disasters;
mod greeter;
mod program;
mod sites;

//! The engine alone, as a process of its own, when things go wrong: killed at every step, asked by hostile clients,
//! with containers that misbehave.

mod api;
mod bed;
mod failpoints;
mod half_open;
mod hogs;
mod hostile;
mod scenarios;
mod state;

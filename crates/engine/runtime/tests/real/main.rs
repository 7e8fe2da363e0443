//! Real containers on this machine's kernel; needs root and a static busybox.

mod bed;
mod cli;
mod hostile;
mod isolation;
mod lifecycle;
mod limits;
mod once;
mod streams;

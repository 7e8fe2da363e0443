//! The runtime and its shim as a program of their own, for measuring them without the rest of `hako`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "shim" => hako_runtime::shim_main(args.collect()),
        Some(word) if word == "runtime" => hako_runtime::cli_main(args.collect()),
        _ => ExitCode::FAILURE,
    }
}

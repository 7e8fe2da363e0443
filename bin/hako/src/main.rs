//! `hako`: one program that takes a Dockerfile to a self-healing service.
//!
//! Owns: flags, exit codes, tables and progress, and (in [`platform`]) the only list of what is linked in.
//! Does not own: any decision about containers or objects; those live in the crates.
//! Invariant: a failure ends with one line on standard error and an exit code that is not 0.

mod cli;
mod cluster;
mod demo;
mod engine;
mod exit;
mod locate;
mod output;
mod platform;
mod registry;
mod store;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // Before anything else: a shim's start is part of every container's start, and it must stay small.
    if arguments.next().is_some_and(|name| hako_runtime::is_runtime_name(&name)) {
        return hako_runtime::cli_main(arguments.collect());
    }
    match arguments.next() {
        Some(word) if word == "shim" => hako_runtime::shim_main(arguments.collect()),
        Some(word) if word == "runtime" => return hako_runtime::cli_main(arguments.collect()),
        _ => {}
    }
    let cli = cli::Cli::read(engine::take_output(std::env::args_os()));
    if let cli::Command::Runtime(args) = &cli.command {
        // Flags stood before the word.
        return hako_runtime::cli_main(args.arguments.clone());
    }
    output::init_logging(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("start the async runtime")),
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    };
    // A thread may be waiting for a key on standard input: nobody would press one.
    runtime.shutdown_background();
    code
}

async fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    use cli::Command;
    let target = locate::Target::new(cli.data_dir, cli.host);
    let output = cli.output;
    match cli.command {
        Command::Up(args) => up::up(&target, *args, output).await,
        Command::Down(args) => up::down(&target, &args).await,
        Command::Demo(args) => demo::demo(&args, output).await,
        Command::Build(args) => engine::build(&target, &args, output).await,
        Command::Images => engine::images(&target, output).await,
        Command::Image(command) => engine::image(&target, command, output).await,
        Command::Pull(args) => engine::pull(&target, &args, output).await,
        Command::Push(args) => engine::push(&target, &args, output).await,
        Command::Tag(args) => engine::tag(&target, &args).await,
        Command::Rmi(args) => engine::rmi(&target, &args).await,
        Command::Save(args) => engine::save(&target, &args).await,
        Command::Load(args) => engine::load(&target, &args, output).await,
        Command::History(args) => engine::history(&target, &args, output).await,
        Command::Inspect(args) => engine::inspect(&target, &args).await,
        Command::Prune(args) => engine::image(&target, cli::ImageCommand::Prune(args), output).await,
        Command::Login(args) => engine::login(&target, &args).await,
        Command::Logout(args) => engine::logout(&args).await,
        Command::System(command) => engine::system(&target, command, output).await,
        Command::Run(args) => engine::run(&target, *args, output).await,
        Command::Ps(args) => engine::ps(&target, &args, output).await,
        Command::Exec(args) => engine::exec(&target, args).await,
        Command::Stop(args) => engine::stop(&target, &args).await,
        Command::Rm(args) => engine::rm(&target, &args).await,
        Command::Logs(args) if args.is_single_container() => engine::logs(&target, &args).await,
        Command::Logs(args) => cluster::logs(&target, &args).await,
        Command::Get(args) => cluster::get(&target, &args, output).await,
        Command::Apply(args) => cluster::apply(&target, &args, output).await,
        Command::Delete(args) => cluster::delete(&target, &args, output).await,
        Command::Scale(args) => cluster::scale(&target, &args, output).await,
        Command::Why(args) => cluster::why(&target, &args, output).await,
        Command::Backup(args) => store::backup(&target, &args, output).await,
        Command::Restore(args) => store::restore(&target, &args, output).await,
        Command::Store(command) => store::store(&target, command, output).await,
        Command::Secrets(command) => store::secrets(&target, command, output).await,
        Command::Registry(command) => registry::registry(&target, command).await,
        Command::Runtime(_) => unreachable!("it forks, so main answers it before there are threads"),
        Command::Version => output::version(output),
    }
}

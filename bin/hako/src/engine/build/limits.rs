//! What RUN steps may use, as docker's flags have it.

use crate::engine::run::bytes;
use anyhow::{Context, bail};
use clap::Args;
use hako_build::{RunLimits, rlimit};
use hako_oci::runtime::{LinuxCpu, LinuxMemory, PosixRlimit};

#[derive(Args, Debug, Default)]
pub(crate) struct LimitArgs {
    /// The memory of a RUN step, such as 512m
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits of RUN steps")]
    memory: Option<String>,
    /// Memory and swap of a RUN step together; -1 for any swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits of RUN steps")]
    memory_swap: Option<String>,
    /// A RUN step's weight when processors are short
    #[arg(short, long, value_name = "WEIGHT", help_heading = "Limits of RUN steps")]
    cpu_shares: Option<u64>,
    /// The period that --cpu-quota counts in, in microseconds
    #[arg(long, value_name = "TIME", help_heading = "Limits of RUN steps")]
    cpu_period: Option<u64>,
    /// The time of processors in each period, in microseconds
    #[arg(long, value_name = "TIME", help_heading = "Limits of RUN steps")]
    cpu_quota: Option<i64>,
    /// The processors of RUN steps, such as 0-3 or 0,1
    #[arg(long, value_name = "LIST", help_heading = "Limits of RUN steps")]
    cpuset_cpus: Option<String>,
    /// The memory nodes of RUN steps, such as 0-3 or 0,1
    #[arg(long, value_name = "LIST", help_heading = "Limits of RUN steps")]
    cpuset_mems: Option<String>,
    /// The size of /dev/shm, such as 64m
    #[arg(long, value_name = "SIZE", help_heading = "Limits of RUN steps")]
    shm_size: Option<String>,
    /// A limit of setrlimit(2), -1 for none: nofile=1024:2048
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", help_heading = "Limits of RUN steps")]
    ulimits: Vec<String>,
}

/// Less is no room for a program at all.
const MEMORY_MIN: i64 = 6 << 20;

pub(super) fn limits(args: &LimitArgs) -> anyhow::Result<RunLimits> {
    let shm = args.shm_size.as_deref().map(bytes).transpose()?;
    Ok(RunLimits {
        memory: memory(args)?,
        cpu: cpu(args),
        rlimits: args.ulimits.iter().map(|text| ulimit(text)).collect::<anyhow::Result<_>>()?,
        shm_bytes: shm.map(|bytes| u64::try_from(bytes).context("--shm-size is a size")).transpose()?,
    })
}

fn memory(args: &LimitArgs) -> anyhow::Result<Option<LinuxMemory>> {
    let limit = args.memory.as_deref().map(bytes).transpose()?;
    if limit.is_some_and(|limit| limit < MEMORY_MIN) {
        bail!("--memory is 6m at least");
    }
    let swap = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        other => other.map(bytes).transpose()?,
    };
    let Some(limit) = limit else {
        return if swap.is_none() { Ok(None) } else { bail!("--memory-swap needs --memory") };
    };
    if swap.is_some_and(|swap| swap != -1 && swap < limit) {
        bail!("--memory-swap counts the memory too: it is --memory at least, or -1");
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(Some(limit)).set_swap(swap.or(limit.checked_mul(2)));
    Ok(Some(memory))
}

fn cpu(args: &LimitArgs) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(args.cpu_shares)
        .set_period(args.cpu_period)
        .set_quota(args.cpu_quota)
        .set_cpus(args.cpuset_cpus.clone())
        .set_mems(args.cpuset_mems.clone());
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn ulimit(text: &str) -> anyhow::Result<PosixRlimit> {
    let wrong = || format!("--ulimit {text:?} is not NAME=SOFT[:HARD]");
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        other => other.parse().with_context(wrong),
    };
    let (name, value) = text.split_once('=').with_context(wrong)?;
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        bail!("--ulimit {text:?}: the soft limit is above the hard one");
    }
    Ok(rlimit(name, soft, hard)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut LimitArgs)) -> anyhow::Result<RunLimits> {
        let mut args = LimitArgs::default();
        change(&mut args);
        limits(&args)
    }

    #[test]
    fn limits_are_read_as_docker_has_them() {
        assert_eq!(of(|_| {}).unwrap(), RunLimits::default());
        let read = of(|args| {
            args.memory = Some("512m".into());
            args.cpuset_cpus = Some("0-1".into());
            args.shm_size = Some("64k".into());
            args.ulimits = vec!["nofile=10:20".into(), "nproc=-1".into()];
        });
        let read = read.unwrap();
        let memory = read.memory.unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(512 << 20), Some(1 << 30)));
        assert_eq!(read.cpu.unwrap().cpus().as_deref(), Some("0-1"));
        assert_eq!(read.shm_bytes, Some(64 << 10));
        assert_eq!(
            read.rlimits,
            [rlimit("nofile", 10, 20).unwrap(), rlimit("nproc", u64::MAX, u64::MAX).unwrap()]
        );
    }

    #[test]
    fn what_cannot_be_a_limit_is_refused() {
        for text in ["nofile", "nofile=x", "nofile=2:1", "nothing=1"] {
            assert!(of(|args| args.ulimits = vec![text.into()]).is_err(), "{text}");
        }
        assert!(of(|args| args.memory = Some("1m".into())).is_err());
        assert!(of(|args| args.memory_swap = Some("1g".into())).is_err());
        let less =
            |args: &mut LimitArgs| (args.memory, args.memory_swap) = (Some("1g".into()), Some("512m".into()));
        assert!(of(less).is_err());
    }
}

//! What no builder can go below on this machine: the stages' programs at once, each in an overlay of the base's files, with
//! no layer, no cache and no process made but theirs; and `cp` of what they wrote, which the last stage asks for.

use hako_benches::{ms, time};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The base's files, and what was written over them.
pub struct Floor {
    root: PathBuf,
}

/// Milliseconds of one round.
pub struct Times {
    /// All programs at once.
    pub programs: f64,
    /// The same, then the copies.
    pub with_copies: f64,
    /// One of the programs.
    pub one: f64,
}

/// Waits for nothing but the program: as ours does it, what it syncs is synced by nobody.
const ENTER: &str = "mount -t overlay overlay -o volatile,lowerdir=$0/base,upperdir=$1/upper,workdir=$1/work $1/merged && \
                     exec chroot $1/merged sh -c \"$2\"";

impl Floor {
    pub fn new(scratch: &Path, base: &Path) -> anyhow::Result<Self> {
        let root = scratch.join("floor");
        fs::create_dir_all(root.join("base"))?;
        time(Command::new("tar").arg("-C").arg(root.join("base")).arg("-xf").arg(base))?;
        Ok(Self { root })
    }

    /// `programs` are directories that scripts write, and the scripts.
    pub fn round(&self, programs: &[(&str, String)]) -> anyhow::Result<Times> {
        let began = Instant::now();
        let running = programs
            .iter()
            .map(|(name, script)| self.start(name, script))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for child in running {
            finish(child)?;
        }
        let all = ms(began.elapsed());
        let copied = self.root.join("copied");
        fs::create_dir(&copied)?;
        for (name, _) in programs {
            time(Command::new("cp").arg("-a").arg(self.place(name).join("upper").join(name)).arg(&copied))?;
        }
        let with_copies = ms(began.elapsed());
        fs::remove_dir_all(&copied)?;
        programs.iter().try_for_each(|(name, _)| fs::remove_dir_all(self.place(name)))?;

        let (name, script) = &programs[0];
        let began = Instant::now();
        finish(self.start(name, script)?)?;
        let one = ms(began.elapsed());
        fs::remove_dir_all(self.place(name))?;
        Ok(Times { programs: all, with_copies, one })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.root.join(format!("stage-{name}"))
    }

    fn start(&self, name: &str, script: &str) -> anyhow::Result<Child> {
        for dir in ["upper", "work", "merged"] {
            fs::create_dir_all(self.place(name).join(dir))?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER]).arg(&self.root);
        Ok(command.arg(self.place(name)).arg(script).stdin(Stdio::null()).spawn()?)
    }
}

fn finish(mut child: Child) -> anyhow::Result<()> {
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "a program of the floor ended with {status}");
    Ok(())
}

//! `hako build` at a terminal: what is seen while steps run, what stays of them, and the shell in what a failed one left.

use crate::builds::context;
use crate::platform::{Platform, output, wait_until};
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const COLUMNS: u16 = 80;

/// What is on a terminal after all that it was sent; of its control functions (ECMA-48) those that the view uses.
#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What came of an escape sequence.
    sequence: Option<String>,
}

impl Screen {
    /// The lines of a terminal of so many columns.
    fn lines(sent: &[u8], columns: usize) -> Vec<String> {
        let mut screen = Self::default();
        for one in String::from_utf8_lossy(sent).chars() {
            screen.take(one, columns);
        }
        screen.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    fn take(&mut self, one: char, columns: usize) {
        if let Some(mut sequence) = self.sequence.take() {
            sequence.push(one);
            if sequence.len() > 1 && ('@'..='~').contains(&one) {
                self.control(&sequence);
            } else {
                self.sequence = Some(sequence);
            }
            return;
        }
        match one {
            '\x1b' => self.sequence = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            one if one.is_control() => {}
            one => self.put(one, columns),
        }
    }

    /// CUU and ED; others say nothing of what is seen.
    fn control(&mut self, sequence: &str) {
        let (head, action) = sequence.split_at(sequence.len() - 1);
        match action {
            "A" => self.row = self.row.saturating_sub(head.trim_start_matches('[').parse().unwrap_or(1)),
            "J" => {
                self.lines.truncate(self.row + 1);
                if let Some(line) = self.lines.get_mut(self.row) {
                    line.truncate(self.column);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, one: char, columns: usize) {
        if self.column == columns {
            (self.row, self.column) = (self.row + 1, 0);
        }
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        let line = &mut self.lines[self.row];
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = one;
        self.column += 1;
    }
}

/// A command at a terminal, with somebody who looks and types.
struct Terminal {
    child: Child,
    keyboard: File,
    sent: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 40, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let child = command.env_remove("COLUMNS").stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // The command keeps copies of our end for as long as it is not dropped.
        drop(command);
        drop(terminal.slave);
        let keyboard = File::from(terminal.master);
        let (mut display, sent) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&sent);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // A terminal whose other end is closed reads as an error.
            while let Ok(count @ 1..) = display.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { child, keyboard, sent, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        Screen::lines(&self.sent.lock().unwrap(), usize::from(COLUMNS))
    }

    /// Looks until there is something to be seen.
    #[track_caller]
    fn until<T>(&self, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let lines = self.lines();
            if let Some(seen) = look(&lines) {
                return seen;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "waited 60 s in vain for {what} in {lines:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a window that is dragged.
    fn resize(&self, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keyboard, size).unwrap();
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for its end; gives the exit code, the lines, and the lines of a terminal that is wide enough for all.
    #[track_caller]
    fn end(&mut self) -> (Option<i32>, Vec<String>, Vec<String>) {
        let child = &mut self.child;
        wait_until("the end of the command at the terminal", || child.try_wait().unwrap().is_some());
        self.reader.take().unwrap().join().unwrap();
        let code = self.child.wait().unwrap().code();
        (code, self.lines(), Screen::lines(&self.sent.lock().unwrap(), usize::MAX))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(dockerfile: &str) -> (Platform, tempfile::TempDir, String) {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let main = context(&dir.path().join("main"), dockerfile);
    (platform, dir, main)
}

fn build(platform: &Platform, flags: &[&str], main: &str) -> Command {
    let mut command = platform.hako();
    command.arg("build").args(flags).arg(main);
    command
}

/// A stage whose step says something and ends when there is a file that all such steps see.
fn stage(name: &str) -> String {
    format!(
        "FROM busybox AS {name}\n\
         RUN --mount=type=cache,target=/c echo {name} is at work; touch /c/began; \
         until [ -e /c/go ]; do sleep 0.05; done; echo {name} > /{name}\n"
    )
}

/// The line of the stage's running step, if its output stands below it.
fn running(lines: &[String], stage: &str) -> Option<String> {
    let (step, output) = (format!("s [{stage} "), format!("      {stage} is at work"));
    let is_it =
        |pair: &&[String]| pair[0].starts_with(" => ") && pair[0].contains(&step) && pair[1] == output;
    lines.windows(2).find(is_it).map(|pair| pair[0].clone())
}

#[test]
fn steps_are_seen_while_they_run_and_one_line_of_each_stays() {
    let (platform, _dir, main) = start(&format!(
        "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        stage("one"),
        stage("two")
    ));
    let mut terminal = Terminal::start(build(&platform, &["--progress=auto", "-t", "seen"], &main));
    let both = |lines: &[String]| Some((running(lines, "one")?, running(lines, "two")?));
    let (before, _) = terminal.until("two running steps", both);
    // While nothing is written their time goes on.
    terminal.until("other times", |lines| running(lines, "one").filter(|line| *line != before));

    // A line longer than the terminal would be broken, and its pieces stay.
    terminal.resize(COLUMNS / 2);
    terminal.until("shorter lines", |lines| {
        let (one, two) = both(lines)?;
        [one, two].iter().all(|line| line.chars().count() < usize::from(COLUMNS / 2)).then_some(())
    });
    terminal.resize(COLUMNS);
    terminal.until("long lines again", |lines| {
        running(lines, "one").filter(|line| line.chars().count() > usize::from(COLUMNS / 2))
    });

    for mount in std::fs::read_dir(platform.data_dir().join("images/build-mounts")).unwrap() {
        let data = mount.unwrap().path().join("data");
        if data.join("began").exists() {
            std::fs::write(data.join("go"), "").unwrap();
        }
    }
    let (code, lines, _) = terminal.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    let (id, steps) = lines.split_last().unwrap();
    assert!(id.starts_with("sha256:"), "{lines:#?}");
    for line in steps {
        assert!(["DONE", "CACHED"].iter().any(|word| line.starts_with(&format!(" => {word}"))), "{lines:#?}");
    }
    for step in ["[one ", "[two "] {
        assert!(steps.iter().any(|line| line.starts_with(" => DONE") && line.contains(step)), "{lines:#?}");
    }

    let elsewhere = output(&mut build(&platform, &["--progress=auto", "-t", "seen"], &main));
    let said = String::from_utf8(elsewhere.stderr).unwrap();
    assert!(elsewhere.status.success() && !said.contains(['\x1b', '\r']), "{said:?}");
    assert!(said.lines().all(|line| line.starts_with('#')) && said.contains(" CACHED\n"), "{said:?}");
    platform.down();
}

#[test]
fn a_failed_steps_last_lines_its_place_and_the_way_into_it_stay() {
    let fails =
        "FROM busybox\nRUN for i in $(seq 30); do echo said $i; done; echo what stayed > /left; exit 5\n";
    let (platform, _dir, main) = start(fails);
    let (code, lines, wide) = Terminal::start(build(&platform, &[], &main)).end();
    assert_eq!(code, Some(1));
    let failed = lines.iter().position(|line| line.starts_with(" => FAILED ")).unwrap_or(lines.len());
    let last: Vec<String> = (11..=30).map(|i| format!("said {i}")).collect();
    assert!(lines[failed..].get(1..21).is_some_and(|tail| *tail == last), "{lines:#?}");
    assert!(!lines.contains(&"said 10".to_owned()), "{lines:#?}");
    let wide = wide.join("\n");
    for part in
        ["Dockerfile:2: the command ended with exit code 5", "2 | RUN for i", "build with --on-error=shell"]
    {
        assert!(wide.contains(part), "{part}: {wide}");
    }

    let mut terminal = Terminal::start(build(&platform, &["--on-error=shell"], &main));
    terminal.until("prompt", |lines| lines.last().filter(|line| line.ends_with('#')).cloned());
    terminal.types("cat /left\n");
    terminal
        .until("file that the step left", |lines| lines.iter().find(|line| *line == "what stayed").cloned());
    terminal.types("exit\n");
    let (code, lines, _) = terminal.end();
    assert_eq!(code, Some(1), "the build has failed all the same: {lines:#?}");
    let images = platform.run(&["images"]);
    assert!(
        images.contains("busybox") && !images.contains("build-failed"),
        "it went with its shell: {images}"
    );
    platform.down();
}

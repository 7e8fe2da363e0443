//! Files that results are written to, whatever lies in their place.

use crate::platform::{Platform, output, run};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::{Command, Stdio};

#[test]
fn pipes_devices_and_symlinks_in_the_place_of_a_result_stay_what_they_are() {
    let platform = Platform::with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    run(Command::new("mknod").arg(at("null")).args(["c", "1", "3"]));
    run(Command::new("mkfifo").arg(at("pipe")));
    let commands = [
        |file: &str| words(&["save", "-o", file, "busybox"]),
        |file: &str| words(&["image", "export", "busybox", file]),
        |file: &str| words(&["backup", file]),
    ];
    for (number, command) in commands.iter().enumerate() {
        let run_to = |name: &str| run(platform.hako().args(command(at(name).to_str().unwrap())));
        run_to("null");
        assert!(fs::symlink_metadata(at("null")).unwrap().file_type().is_char_device());
        let (link, real) = (format!("link{number}"), format!("real{number}"));
        symlink(&real, at(&link)).unwrap();
        run_to(&link);
        run_to(&link);
        assert_eq!(fs::read_link(at(&link)).unwrap().to_str(), Some(real.as_str()));
        assert!(fs::symlink_metadata(at(&real)).unwrap().len() > 100);
        // The pipe has a writer until all is written, so that its reader meets no end before.
        let held = File::options().read(true).write(true).open(at("pipe")).unwrap();
        let (reading, copy) = (File::open(at("pipe")).unwrap(), File::create(at("copy")).unwrap());
        let mut reader = Command::new("cat").stdin(reading).stdout(copy).spawn().unwrap();
        run_to("pipe");
        drop(held);
        assert!(reader.wait().unwrap().success());
        assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
        let (copied, kept) =
            (fs::metadata(at("copy")).unwrap().len(), fs::metadata(at(&real)).unwrap().len());
        assert!(copied > 100 && copied.abs_diff(kept) < kept / 4, "{copied} of {kept}");
        // Nobody reads it now.
        let mut unread = platform.hako();
        let unread = output(unread.args(command(at("pipe").to_str().unwrap())).stdout(Stdio::null()));
        let said = String::from_utf8(unread.stderr).unwrap();
        assert!(!unread.status.success() && said.contains("nobody reads it"), "{said}");
    }
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["copy", "link0", "link1", "link2", "null", "pipe", "real0", "real1", "real2"]);
    platform.down();
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

//! The Dockerfile and .dockerignore of contexts that somebody else made.

use crate::bed::Bed;
use crate::sources::{Daemon, daemon, git, serve, tar_of};
use hako_build::BuildRequest;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

/// What the machine has and no context may show: as a Dockerfile it is told in the error, as rules it leaves `f` out.
const SECRET: &str = "f\n[\n";

fn node(path: &Path, kind: FileType) {
    // A device of no driver: one that is opened is an error of its own.
    mknodat(CWD, path, kind, Mode::RUSR, makedev(511, 77)).unwrap();
}

/// A repository with what `fill` puts into it, and its address.
fn repository(bed: &Bed, fill: impl FnOnce(&Path)) -> (Daemon, String) {
    let tree = bed.dir.path().join("git/r.git");
    fs::create_dir_all(&tree).unwrap();
    git(&tree, &["init", "-q"]);
    fill(&tree);
    git(&tree, &["add", "."]);
    git(&tree, &["commit", "-q", "-m", "one"]);
    let daemon = daemon(&bed.dir.path().join("git"));
    let url = format!("{}/r.git", daemon.1);
    (daemon, url)
}

#[test]
fn a_dockerfile_in_lower_case_counts_where_there_is_no_other() {
    let bed = Bed::new("");
    fs::remove_file(bed.context().join("Dockerfile")).unwrap();
    for dir in ["", "sub/"] {
        bed.write(
            &format!("{dir}dockerfile"),
            format!("FROM scratch\nCOPY . /c\nCOPY <<E /which\nlower {dir}\nE\n"),
        );
        bed.write(&format!("{dir}dockerfile.dockerignore"), "f\n");
    }
    bed.write("f", "left out");
    let host = serve(tar_of(&bed.context()));
    let sent = BuildRequest { remote: Some(format!("{host}/c.tar")), ..bed.request() };
    let below = BuildRequest { dockerfile: Some("sub/Dockerfile".into()), ..sent.clone() };
    for (request, said) in [(bed.request(), "lower \n"), (sent, "lower \n"), (below, "lower sub/\n")] {
        let image = bed.run(request).image();
        assert_eq!(bed.read(&image, "which"), said);
        assert!(!bed.look(&image, |root| root.join("c/f").exists()));
    }
    let other = BuildRequest { dockerfile: Some("Other".into()), ..bed.request() };
    assert!(bed.fails(other).chain().contains("Other"));
    bed.write("Dockerfile", "FROM scratch\nCOPY <<E /which\nusual\nE\n");
    assert_eq!(bed.read(&bed.build(), "which"), "usual\n");
}

#[test]
fn no_link_of_a_context_leads_the_builder_to_a_file_of_the_machine() {
    let bed = Bed::new("");
    let outside = bed.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), SECRET).unwrap();
    let context = bed.context();
    fs::remove_file(context.join("Dockerfile")).unwrap();
    bed.write("sub/real", "FROM scratch\nCOPY f /f\n");
    bed.write("f", "inside");
    symlink(outside.join("secret"), context.join("Dockerfile")).unwrap();
    symlink("../outside", context.join("d")).unwrap();
    symlink("/sub/real", context.join("linked")).unwrap();
    let host = serve(tar_of(&context));
    let named = |name: &str| BuildRequest { dockerfile: Some(name.into()), ..bed.request() };
    let remote = |name: &str| BuildRequest { remote: Some(format!("{host}/c.tar")), ..named(name) };
    let up = format!("/{}", outside.join("secret").display());
    for name in ["Dockerfile", "d/secret", "../outside/secret", "sub/../../outside/secret"] {
        for request in [named(name), remote(name)] {
            let said = bed.fails(request).chain();
            assert!(said.contains("it has to be a file of the build context"), "{name}: {said}");
        }
    }
    assert!(bed.fails(remote(&up)).chain().contains("it has to be a file of the build context"));
    // What is linked is found where COPY would find it.
    assert_eq!(bed.read(&bed.run(named("linked")).image(), "f"), "inside");
    assert_eq!(bed.read(&bed.run(remote("/linked")).image(), "f"), "inside");
}

#[test]
fn rules_of_a_repository_are_files_of_it() {
    let bed = Bed::new("");
    let secret = bed.dir.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let (_daemon, url) = repository(&bed, |tree| {
        fs::write(tree.join("Dockerfile"), "FROM scratch\nCOPY f /f\n").unwrap();
        fs::write(tree.join("f"), "inside").unwrap();
        symlink(&secret, tree.join("Dockerfile.dockerignore")).unwrap();
        symlink(&secret, tree.join(".dockerignore")).unwrap();
    });
    let image = bed.run(BuildRequest { remote: Some(url), ..bed.request() }).image();
    assert_eq!(bed.read(&image, "f"), "inside");
}

#[test]
fn a_dockerfile_of_this_machine_may_be_a_link_from_elsewhere() {
    let bed = Bed::new("");
    let elsewhere = bed.dir.path().join("shared");
    fs::write(&elsewhere, "FROM scratch\nCOPY f /f\n").unwrap();
    bed.write("f", "inside");
    let named = bed.context().join("Linked");
    symlink(&elsewhere, &named).unwrap();
    let request = BuildRequest { dockerfile: Some(named), ..bed.request() };
    assert_eq!(bed.read(&bed.run(request.clone()).image(), "f"), "inside");
    fs::write(bed.dir.path().join("rules"), "f\n").unwrap();
    symlink("../rules", bed.context().join("Linked.dockerignore")).unwrap();
    assert_eq!(bed.read(&bed.run(request.clone()).image(), "f"), "inside");
    fs::remove_file(bed.context().join("Linked.dockerignore")).unwrap();
    bed.write("Linked.dockerignore", "f\n");
    assert!(bed.fails(request).chain().contains(".dockerignore leaves it out"));
}

#[test]
fn what_is_no_regular_file_is_refused_by_name_and_not_waited_for() {
    for (kind, said) in [(FileType::Fifo, "a FIFO"), (FileType::CharacterDevice, "a device")] {
        for name in ["Dockerfile", "Dockerfile.dockerignore", ".dockerignore"] {
            let bed = Bed::new("FROM scratch\nCOPY f /f\n");
            bed.write("f", "");
            let path = bed.context().join(name);
            let _ = fs::remove_file(&path);
            node(&path, kind);
            let host = serve(tar_of(&bed.context()));
            let whole = bed.context().join("Dockerfile");
            for request in [
                bed.request(),
                BuildRequest { dockerfile: Some(whole), ..bed.request() },
                BuildRequest { remote: Some(format!("{host}/c.tar")), ..bed.request() },
            ] {
                let error = bed.fails(request).chain();
                assert!(error.contains(said) && error.contains(name), "{name}: {error}");
            }
        }
    }
}

#[test]
fn texts_that_are_too_long_are_refused_before_they_are_read_whole() {
    for name in ["Dockerfile", "Dockerfile.dockerignore", ".dockerignore"] {
        let bed = Bed::new("FROM scratch\nCOPY f /f\n");
        bed.write("f", "");
        File::create(bed.context().join(name)).unwrap().set_len(1 << 40).unwrap();
        let error = bed.fails(bed.request()).chain();
        assert!(error.contains("larger than 4 MiB") && error.contains(name), "{name}: {error}");
    }
}

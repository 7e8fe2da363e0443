//! Steps that try to get at the host, each named after the weakness of another builder.

use crate::bed::Bed;
use hako_build::{BuildRequest, Entitlement};
use hako_error::Kind;
use std::fs;

/// CVE-2024-23651: what a cache holds is the work of steps, which others may go on with: a part of it that is named as what to mount
/// may be a link by then.
#[test]
fn cve_2024_23651_a_link_in_a_cache_or_a_stage_shows_no_file_of_the_host() {
    let bed = Bed::new("");
    let outside = bed.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "of the host").unwrap();
    let link = format!("rm -rf /c/sub && ln -s {0} /c/sub && ln -sf {0} /c/new", outside.display());
    let look = "! cat /t/secret /t/sub/secret /t/new/secret 2>/dev/null | grep host";
    bed.write(
        "Dockerfile",
        format!(
            "FROM busybox AS made\nRUN mkdir /c && {link}\n\
             FROM busybox\n\
             RUN --mount=type=cache,id=c,target=/c mkdir -p /c/sub && {link}\n\
             RUN --mount=type=cache,id=c,source=sub,target=/t {look}\n\
             RUN --mount=type=cache,id=c,source=sub/deep,target=/t,ro {look}\n\
             RUN --mount=type=cache,id=c,target=/c --mount=type=cache,id=d,source=new,target=/c/sub/t touch /c/sub/t/x\n\
             RUN --mount=type=bind,from=made,target=/t {look}\n"
        ),
    );
    bed.run(BuildRequest { no_cache: true, ..bed.request() }).image();
    // In a root of its own the link leads to a place that is not there.
    for kind in ["bind", "cache,id=e"] {
        bed.write(
            "Dockerfile",
            format!(
                "FROM busybox AS made\nRUN mkdir /c && {link}\nFROM busybox\n\
                 RUN --mount=type={kind},from=made,source=/c/sub,target=/t {look}\n"
            ),
        );
        let error = bed.fails(bed.request()).chain();
        assert!(error.contains("/c/sub"), "{kind}: {error}");
    }
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
}

/// CVE-2024-23652: places that were made for a step's mounts are taken away after it, and it may have put a link on the way.
#[test]
fn cve_2024_23652_a_mount_point_behind_a_link_is_not_taken_away_from_the_host() {
    let bed = Bed::new("");
    let outside = bed.dir.path().join("outside");
    fs::create_dir_all(outside.join("dir/below")).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    let mounts = "--mount=type=tmpfs,target=/x/dir/below --mount=type=bind,source=Dockerfile,target=/x/file";
    let swap = format!("mv /x /was && ln -s {} /x", outside.display());
    bed.write("Dockerfile", format!("FROM busybox\nRUN {mounts} {swap}\n"));
    let image = bed.build();
    assert!(outside.join("dir/below").is_dir(), "a directory of the host was removed");
    assert!(outside.join("file").is_file(), "a file of the host was removed");
    bed.look(&image, |root| assert_eq!(fs::read_link(root.join("x")).unwrap(), outside));
}

#[test]
fn what_a_step_does_to_the_directory_of_a_mount_point_stays() {
    let bed = Bed::new(
        "FROM busybox\nRUN mkdir /kept /changed\n\
         RUN --mount=type=tmpfs,target=/kept/m --mount=type=tmpfs,target=/changed/m chmod 700 /changed\n\
         RUN stat -c %a /kept /changed > /how\n",
    );
    let image = bed.build();
    assert_eq!(bed.read(&image, "how"), "755\n700\n");
    bed.look(&image, |root| assert!(!root.join("kept/m").exists() && !root.join("changed/m").exists()));
}

/// CVE-2024-23653: whatever of a build asks for rights that it was not given, it is refused before any step runs.
#[test]
fn cve_2024_23653_no_step_has_rights_that_its_build_was_not_given() {
    let bed = Bed::new("");
    let step = "mount -t tmpfs none /tmp";
    let refused = |allow: &[Entitlement], dockerfile: &str, name: &str| {
        bed.write("Dockerfile", dockerfile);
        let error = bed.fails(BuildRequest { allow: allow.iter().cloned().collect(), ..bed.request() });
        assert_eq!(error.kind(), Kind::Forbidden, "{dockerfile}: {error:?}");
        assert!(error.chain().contains(name), "{error:?}");
    };
    let insecure = "--allow security.insecure";
    let all_others = [Entitlement::NetworkHost, Entitlement::Device(None)];
    for allow in [&[][..], &all_others] {
        refused(allow, &format!("FROM busybox\nRUN --security=insecure {step}\n"), insecure);
        let stage = format!("FROM busybox AS a\nRUN --security=insecure {step}\nFROM busybox\n");
        refused(allow, &format!("{stage}COPY --from=a /bin /b\n"), insecure);
        refused(allow, &format!("{stage}RUN --mount=from=a,target=/a true\n"), insecure);
    }
    refused(
        &[Entitlement::SecurityInsecure],
        "FROM busybox\nRUN --network=host true\n",
        "--allow network.host",
    );
    // Without the flag a step has none of it, whatever its build may.
    bed.write("Dockerfile", format!("FROM busybox\nRUN ! {step}\n"));
    let everything = [Entitlement::SecurityInsecure, Entitlement::NetworkHost, Entitlement::Device(None)];
    bed.run(BuildRequest { allow: everything.into(), ..bed.request() }).image();
}

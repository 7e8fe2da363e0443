//! What stands beside an image: read back as others read it.

use crate::bed::Bed;
use crate::distribution::Distribution;
use hako_build::{BuildRequest, Output, Provenance, ProvenanceMode, Secret};
use hako_image::transfer::Progress;
use hako_image::{LayerForm, SaveOptions};
use hako_names::Digest;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const STATUS: &str = "Package: libx\nStatus: install ok installed\nVersion: 1:2.3-4\nArchitecture: amd64\n\n\
    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n";
const DOCKERFILE: &str =
    "FROM busybox\nARG WHO\nCOPY status /var/lib/dpkg/status\nRUN --mount=type=secret,id=s true\n";

fn wanting(bed: &Bed, mode: ProvenanceMode) -> BuildRequest {
    bed.write("status", STATUS);
    BuildRequest {
        sbom: true,
        provenance: Some(Provenance { mode, builder_id: None }),
        args: [("WHO".to_owned(), "me".to_owned()), ("SOURCE_DATE_EPOCH".to_owned(), "7".to_owned())].into(),
        secrets: [("s".to_owned(), Secret(b"s3cret-value".to_vec()))].into(),
        ..bed.request()
    }
}

/// The statements beside the only image of an index; `blob` reads what a digest names.
fn statements(index: &Value, blob: impl Fn(&str) -> Value) -> Vec<Value> {
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    let (own, beside) = (&manifests[0], &manifests[1]);
    assert_eq!(beside["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(beside["annotations"]["vnd.docker.reference.digest"], own["digest"]);
    assert_eq!(
        (&beside["platform"]["os"], &beside["platform"]["architecture"]),
        (&"unknown".into(), &"unknown".into())
    );
    let manifest = blob(beside["digest"].as_str().unwrap());
    let read = |layer: &Value| {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let statement = blob(layer["digest"].as_str().unwrap());
        assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
        let subject = &statement["subject"][0]["digest"]["sha256"];
        assert_eq!(format!("sha256:{}", subject.as_str().unwrap()), own["digest"].as_str().unwrap());
        statement
    };
    let layers = manifest["layers"].as_array().unwrap();
    let config = blob(manifest["config"]["digest"].as_str().unwrap());
    let digests: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().iter().collect::<Vec<_>>(), digests);
    layers.iter().map(read).collect()
}

/// Reads a blob of a layout directory and believes it only by its digest.
fn of_layout(dir: &Path, digest: &str) -> Value {
    let bytes = fs::read(dir.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), digest);
    serde_json::from_slice(&bytes).unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn packages_and_origin_are_told_in_the_form_that_buildkits_readers_know() {
    let bed = Bed::new(DOCKERFILE);
    let request = wanting(&bed, ProvenanceMode::Max);
    let image = bed.run(request.clone()).image();
    let blob = |digest: &str| -> Value {
        serde_json::from_slice(&bed.images.content().read(digest.parse().unwrap()).unwrap()).unwrap()
    };
    let told = statements(&blob(&image.index.unwrap().to_string()), blob);
    assert_eq!(told[0]["predicateType"], "https://spdx.dev/Document");
    assert_eq!(told[0]["predicate"]["spdxVersion"], "SPDX-2.3");
    let packages = told[0]["predicate"]["packages"].as_array().unwrap();
    let names: Vec<&str> = packages.iter().skip(1).map(|package| package["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["libx"]);
    let purl = &packages[1]["externalRefs"][0]["referenceLocator"];
    assert_eq!(purl, "pkg:deb/debian/libx@1%3A2.3-4?arch=amd64");
    assert_eq!(told[1]["predicateType"], "https://slsa.dev/provenance/v1");
    let made = told[1]["predicate"].to_string();
    for part in [
        "pkg:docker/busybox@latest?platform=linux%2Famd64",
        "\"WHO\":\"me\"",
        "FROM busybox",
        "1970-01-01T00:00:07Z",
    ] {
        assert!(made.contains(part), "{part}: {made}");
    }
    assert!(!made.contains("s3cret-value"), "{made}");
    assert_eq!(bed.run(request).image().index, image.index, "nothing in it depends on when it is made");
    let min = bed.run(wanting(&bed, ProvenanceMode::Min)).image();
    assert_eq!(min.id, image.id, "the image is the same whatever is said of it");
    let told = statements(&blob(&min.index.unwrap().to_string()), blob);
    assert!(!told[1].to_string().contains("\"WHO\""));
    let last = image.index.unwrap();
    assert!(!bed.images.content().exists(last), "what was said before goes when something else is said");
    let plain = bed.run(BuildRequest { sbom: false, provenance: None, ..wanting(&bed, ProvenanceMode::Min) });
    assert!(plain.image().index.is_none() && bed.images.find("app").unwrap().index.is_none());
}

#[test]
fn an_index_is_pushed_in_a_form_that_all_read_and_says_what_is_there() {
    let registry = Distribution::start();
    let bed = Bed::new(DOCKERFILE);
    let pushed = registry.name("team/app:v1");
    let request = BuildRequest {
        tags: vec![pushed.clone()],
        outputs: vec![Output::Image { push: true, compression: None }],
        ..wanting(&bed, ProvenanceMode::Min)
    };
    let image = bed.run(request).image();
    let raw = registry.inspect("team/app:v1");
    let index: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let copy = bed.dir.path().join("copy");
    // Everything, with digests verified on the way.
    let (from, to) = (format!("docker://{pushed}"), format!("oci:{}", copy.display()));
    run("skopeo", &["copy", "--all", "--src-tls-verify=false", &from, &to]);
    let told = statements(&index, |digest| of_layout(&copy, digest));
    assert_eq!(told.len(), 2);
    let manifest = of_layout(&copy, index["manifests"][0]["digest"].as_str().unwrap());
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    }
    // Readers of images take the one for their machine.
    run(
        "skopeo",
        &["copy", "--src-tls-verify=false", &from, &format!("dir:{}", bed.dir.path().join("one").display())],
    );
    let other = Bed::new(&format!("FROM {pushed}\nRUN test -f /var/lib/dpkg/status\n"));
    let based = other.build();
    assert_eq!(based.layers.len(), image.layers.len());
    let again = other.images.resolve(&pushed).unwrap();
    assert_eq!(again.id, image.id);
    assert_eq!(again.repo_digests, [pushed.with_digest(Digest::of(raw.as_bytes()))]);
}

#[test]
fn an_index_is_saved_tagged_and_kept_with_all_that_it_names_and_goes_with_its_last_name() {
    let bed = Bed::new(DOCKERFILE);
    let layout = bed.dir.path().join("oci");
    let outputs = vec![Output::Oci { dest: layout.clone(), tar: false, compression: None }];
    let image = bed.run(BuildRequest { outputs, ..wanting(&bed, ProvenanceMode::Min) }).image();
    let top =
        |dir: &Path| -> Value { serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap() };
    let named = top(&layout);
    assert_eq!(named["manifests"][0]["digest"].as_str().unwrap(), image.index.unwrap().to_string());
    let index = of_layout(&layout, named["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(statements(&index, |digest| of_layout(&layout, digest)).len(), 2);

    let elsewhere = Bed::new(DOCKERFILE);
    let loaded = elsewhere.images.load_layout(&layout, &Progress::none()).unwrap();
    assert_eq!((loaded.len(), loaded[0].index), (1, image.index), "a layout that is whole is taken as it is");
    elsewhere.builder.prune().unwrap();
    let beside = index["manifests"][1]["digest"].as_str().unwrap();
    assert!(elsewhere.images.content().exists(beside.parse().unwrap()));

    let other = "other:v2".parse().unwrap();
    bed.images.tag(&bed.images.find("app").unwrap(), &other).unwrap();
    bed.images.remove("app", false).unwrap();
    bed.builder.prune().unwrap();
    let kept = bed.images.resolve(&other).unwrap();
    assert_eq!(kept.index, image.index);
    // Saved in another form, it says what is there.
    let plain = bed.dir.path().join("plain");
    let saved = [(kept.clone(), vec![other.clone()])];
    bed.images.save_layout(&saved, Some(LayerForm::Uncompressed), &plain).unwrap();
    let index = of_layout(&plain, top(&plain)["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(statements(&index, |digest| of_layout(&plain, digest)).len(), 2);
    // A machine that was stopped finds it again.
    let content = hako_content::ContentStore::open(bed.dir.path().join("content")).unwrap();
    let snapshots = bed.images.snapshots().clone();
    let reopened = hako_image::ImageStore::open(content, snapshots, bed.dir.path().join("images")).unwrap();
    assert_eq!(reopened.resolve(&other).unwrap().index, image.index);
    // Archives for docker have the image alone.
    let mut archive = Vec::new();
    bed.images.save(&saved, SaveOptions::default(), &mut archive).unwrap();
    assert!(!String::from_utf8_lossy(&archive).contains("in-toto"));

    let beside = index_of(&bed, &kept)["manifests"][1]["digest"].as_str().unwrap().to_owned();
    assert!(bed.images.content().exists(beside.parse().unwrap()));
    bed.images.remove("other:v2", false).unwrap();
    let left = bed.images.content().list().unwrap();
    assert!(!bed.images.content().exists(beside.parse().unwrap()), "it goes with its last name: {left:?}");
}

fn index_of(bed: &Bed, image: &hako_image::Image) -> Value {
    serde_json::from_slice(&bed.images.content().read(image.index.unwrap()).unwrap()).unwrap()
}

#[test]
fn beside_files_there_are_files_that_speak_of_each_of_them() {
    let bed = Bed::new("FROM scratch\nCOPY status /var/lib/dpkg/status\nCOPY status /b\n");
    let (dir, tar) = (bed.dir.path().join("out"), bed.dir.path().join("out.tar"));
    let outputs = vec![Output::Local { dest: dir.clone() }, Output::Tar { dest: tar.clone() }];
    let request = BuildRequest { outputs, secrets: Default::default(), ..wanting(&bed, ProvenanceMode::Min) };
    assert!(bed.run(request.clone()).result.unwrap().image.is_none());
    for (file, kind) in [
        ("sbom.spdx.json", "https://spdx.dev/Document"),
        ("provenance.json", "https://slsa.dev/provenance/v1"),
    ] {
        let statement: Value = serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap();
        assert_eq!(statement["predicateType"], kind);
        let subjects = statement["subject"].as_array().unwrap();
        let names: Vec<&str> = subjects.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["b", "var/lib/dpkg/status"]);
        assert_eq!(subjects[0]["digest"]["sha256"].as_str().unwrap(), Digest::of(STATUS.as_bytes()).hex());
    }
    let listed = Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("sbom.spdx.json\n") && listed.contains("provenance.json\n"), "{listed}");
    let first = fs::read(&tar).unwrap();
    bed.run(request.clone()).result.unwrap();
    assert_eq!(fs::read(&tar).unwrap(), first, "the same bytes each time");
    bed.write("Dockerfile", "FROM scratch\nCOPY status /sbom.spdx.json\n");
    let error = bed.fails(request);
    assert!(error.chain().contains("\"sbom.spdx.json\" of its own"), "{error:?}");
}

#[test]
fn a_list_of_contents_that_is_larger_than_a_manifest_may_be_is_pushed_saved_and_loaded() {
    let registry = Distribution::start();
    let bed = Bed::new("FROM scratch\nCOPY status /var/lib/dpkg/status\n");
    let package = |number| format!("Package: p{number}\nVersion: 1\nMaintainer: {}\n\n", "m".repeat(400));
    bed.write("status", (0..6000).map(package).collect::<String>());
    let (name, layout) = (registry.name("team/app:v1"), bed.dir.path().join("oci"));
    let outputs = vec![
        Output::Image { push: true, compression: None },
        Output::Oci { dest: layout.clone(), tar: false, compression: None },
    ];
    let request = BuildRequest { outputs, sbom: true, tags: vec![name.clone()], ..bed.request() };
    let image = bed.run(request).image();
    let largest = bed.images.index_blobs(&image).into_iter().map(|(_, size)| size).max();
    assert!(largest.unwrap() > 4 << 20);
    let elsewhere = Bed::new("FROM scratch\n");
    let loaded = elsewhere.images.load_layout(&layout, &Progress::none()).unwrap();
    assert_eq!(loaded[0].index, image.index);
    let based = Bed::new(&format!("FROM {name}\nLABEL a=b\n"));
    assert_eq!(based.build().layers.len(), 1);
}

#[test]
fn packages_of_languages_are_listed_where_they_are_installed() {
    let bed = Bed::new("FROM scratch\nCOPY app /app\n");
    bed.write("app/site/Flask-3.0.dist-info/METADATA", "Name: Flask\nVersion: 3.0\n\nText\n");
    bed.write("app/node_modules/@a/b/package.json", r#"{"name": "@a/b", "version": "1.2.3"}"#);
    bed.write("app/package.json", r#"{"name": "own", "version": "0.0.0"}"#);
    let dest = bed.dir.path().join("out");
    let outputs = vec![Output::Local { dest: dest.clone() }];
    bed.run(BuildRequest { outputs, sbom: true, ..bed.request() }).result.unwrap();
    let statement: Value = serde_json::from_slice(&fs::read(dest.join("sbom.spdx.json")).unwrap()).unwrap();
    let packages = statement["predicate"]["packages"].as_array().unwrap().iter().skip(1);
    let purls: Vec<&Value> = packages.map(|one| &one["externalRefs"][0]["referenceLocator"]).collect();
    assert_eq!(purls, ["pkg:npm/%40a/b@1.2.3", "pkg:pypi/flask@3.0"]);
}

#[test]
fn what_docker_load_reads_has_no_place_for_attestations() {
    let bed = Bed::new(DOCKERFILE);
    let outputs = vec![Output::Docker { dest: bed.dir.path().join("out"), compression: None }];
    let error = bed.fails(BuildRequest { outputs, ..wanting(&bed, ProvenanceMode::Min) });
    assert!(error.chain().contains("type=oci"), "{error:?}");
}

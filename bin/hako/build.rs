//! Links the program at a fixed address. It is executed again for every sandbox's shim: without relocations a start
//! writes to no page of the file's data, so that shims share all of it (docs/decisions/0002).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

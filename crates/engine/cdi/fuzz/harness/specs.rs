//! A vendor's file: its devices can be asked for by their names, and change a container once or not at all; or it is refused
//! in so many words.

use hako_cdi::{Directories, is_qualified};
use hako_oci::runtime::Spec;

pub fn run(data: &[u8]) {
    // Anew each time: a file that is written over waits for the disk.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file.yaml");
    std::fs::write(&path, data).expect("written");
    let devices = Directories::new(vec![directory.path().to_owned()]).read();
    let names: Vec<&str> = devices.names().collect();
    assert_eq!(names.is_empty(), devices.faults().len() == 1, "{names:?}, {:?}", devices.faults());
    assert!(devices.faults().iter().all(|fault| fault.to_string().len() <= 4 * data.len() + 4096));
    for name in names {
        assert!(is_qualified(name), "{name:?}");
        let found = devices.get(name).expect("it has this name");
        assert!(found.annotation("a").is_none_or(|text| text.len() <= data.len()));
        let (mut once, mut twice) = (Spec::default(), Spec::default());
        match devices.inject([name], &mut once) {
            Ok(()) => devices.inject([name, name], &mut twice).expect("as before"),
            Err(refused) => assert!(refused.to_string().contains(name), "{refused}"),
        }
        assert_eq!(once, twice);
        assert!(devices.inject([name, "no/such=device"], &mut once).is_err());
        assert_eq!(once, twice, "changed in part");
    }
}

//! A configuration: taken, or refused with every fault at its field, the same each time.

use hako_error::Classify as _;
use hako_registry::Config;
use hako_registry::config::ConfigError;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files are looked for there, and none is made.
    let directory = std::env::temp_dir();
    let loaded = Config::load(text, &directory);
    let again = Config::load(text, &directory);
    assert_eq!(format!("{loaded:?}"), format!("{again:?}"));
    let read = Config::parse(text);
    match (&loaded, &read) {
        (Ok(loaded), Ok(read)) => {
            assert_eq!(format!("{loaded:?}"), format!("{read:?}"));
            read.examine(&directory).expect("as it was loaded");
        }
        // What is read may still not work.
        (Err(ConfigError::Fields { faults }), Ok(read)) => {
            let examined = read.examine(&directory).expect_err("as it was loaded");
            assert_eq!(format!("{faults:?}"), format!("{:?}", examined.causes()));
        }
        (Err(loaded), Err(read)) => assert!(loaded.causes().len() >= read.causes().len()),
        (Ok(_), Err(read)) => panic!("it is loaded and cannot be read: {read}"),
        (Err(loaded), Ok(_)) => panic!("it is read and no text of YAML: {loaded}"),
    }
    if let Err(refused) = loaded {
        let faults = refused.causes();
        assert!(faults.iter().all(|fault| !fault.field.is_empty() || text.len() < 5000), "{faults:?}");
        // A fault quotes what it is about, and may be told of each entry of a list.
        let told: usize = faults.iter().map(|fault| fault.message.len() + fault.field.len()).sum();
        assert!(told <= 64 * (data.len() + 64), "{told} bytes of faults for {}", data.len());
    }
}

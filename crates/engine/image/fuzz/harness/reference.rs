//! An image's name: whatever is taken prints as a name of the same image, and has no way out of its repository.

use hako_names::ImageRef;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(name) = text.parse::<ImageRef>() else { return };
    for printed in [name.to_string(), name.canonical()] {
        let again = printed.parse::<ImageRef>();
        assert!(again.as_ref() == Ok(&name), "{text:?} prints as {printed:?}, which is {again:?}");
    }
    let parts = name.repository().split('/');
    assert!(!name.registry().is_empty() && parts.clone().all(|part| !part.is_empty() && part != ".."));
    assert!(name.tag().is_some() || name.digest().is_some());
}

//! What is written in protobuf of any JSON is read as what was written.

use hako_api::protobuf;

pub fn run(data: &[u8]) {
    let Ok(Some(message)) = protobuf::converted(data) else { return };
    // Numbers in parts that are JSON as they are may be larger than those that are read.
    let Ok(object) = protobuf::object(&message) else { return };
    let again = protobuf::converted(object.to_string().as_bytes());
    let again = again.expect("what was read is an object").expect("its kind has messages");
    assert_eq!(protobuf::object(&again).expect("a message"), object);
}

//! The heartvoice binary.
fn main() {}

//! telepost.
fn main() {}

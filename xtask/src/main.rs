//! Placeholder until its parts land.
fn main() {}

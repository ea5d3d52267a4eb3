//! Builds the program again when a bundled plugin changes: the files are read by a macro, which cargo can't see through.

fn main() {
    println!("cargo::rerun-if-changed=../plugins");
}

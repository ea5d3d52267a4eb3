//! Builds the program again when a bundled plugin or a template changes: the files are read by a macro, which cargo can't see through.

fn main() {
    println!("cargo::rerun-if-changed=../plugins");
    println!("cargo::rerun-if-changed=../templates");
}

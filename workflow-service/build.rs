//! Embedded folders are read by a macro that cargo does not watch; this makes it.

fn main() {
    println!("cargo::rerun-if-changed=../migrations/workflow");
}

//! Embedded folders are read by a macro that cargo does not watch; this makes it.

fn main() {
    for owner in ["database", "bus", "mechanisms"] {
        println!("cargo::rerun-if-changed=../migrations/{owner}");
    }
}

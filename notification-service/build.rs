//! `include_dir!` does not tell cargo about new files.
fn main() {
    println!("cargo::rerun-if-changed=../migrations/notification");
}

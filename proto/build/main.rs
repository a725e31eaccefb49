//! Compiles the contract. Three results per set of protos, each in its own folder of `OUT_DIR`:
//! `descriptors.bin` (with custom options and comments), `mod.rs` (messages and gRPC stubs) and
//! `validate.rs` (`impl Validate` for each message). The set `contract` is `pulseops/**`; `sample`
//! is `tests/protos/**`, which only this crate's tests include.

mod validation;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use validation::Paths;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const THIRD_PARTY: &str = "third_party";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed={THIRD_PARTY}");
    println!("cargo:rerun-if-changed=pulseops");
    println!("cargo:rerun-if-changed=tests/protos");
    #[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by the environment")]
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let contract = Paths { messages: "crate::generated", runtime: "crate" };
    compile(".", "pulseops", &out.join("contract"), &contract)?;
    if Path::new("tests/protos").is_dir() {
        let sample = Paths { messages: "crate::sample", runtime: "proto" };
        compile("tests/protos", "", &out.join("sample"), &sample)?;
    }
    Ok(())
}

/// Compiles every .proto below `root/folder` (imports are relative to `root`) into `out`.
fn compile(root: &str, folder: &str, out: &Path, paths: &Paths) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut compiler = protox::Compiler::new([root, THIRD_PARTY])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(protos_below(&Path::new(root).join(folder))?)?;

    // The encoded set keeps custom options; the typed one of prost-types would drop them.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let impls =
        validation::generate(&compiler.descriptor_pool(), paths).map_err(|faults| faults.join("\n"))?;
    fs::write(out.join("validate.rs"), impls)?;
    stubs(&compiler, out, paths)
}

fn stubs(compiler: &protox::Compiler, out: &Path, paths: &Paths) -> Result<()> {
    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| validation::has_types(file.name()));
    for file in &mut set.file {
        // Comments stay in descriptors.bin: rewording one must not rebuild what uses the stubs.
        file.source_code_info = None;
    }

    let mut config = tonic_prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        // Ordered maps make the encoding of equal messages equal, so that it can be hashed.
        .btree_map(["."])
        .bytes(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path(format!("{}::codec::ValidatingCodec", paths.runtime))
        .out_dir(out)
        .include_file("mod.rs")
        .compile_fds_with_config(set, config)?;
    widen_clients(out, paths)
}

/// tonic has no setting for what every generated client takes, so it is written into their
/// constructors.
fn widen_clients(out: &Path, paths: &Paths) -> Result<()> {
    let mut widened = 0;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut wider = text.clone();
        for made in ["tonic::client::Grpc::new(inner)", "tonic::client::Grpc::with_origin(inner, origin)"] {
            wider = wider.replace(made, &format!("{}::codec::client({made})", paths.runtime));
        }
        if wider != text {
            widened += 1;
            fs::write(path, wider)?;
        }
    }
    if widened == 0 {
        return Err("no generated client was found: has tonic changed what it writes?".into());
    }
    Ok(())
}

fn protos_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(protos_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

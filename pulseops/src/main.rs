use std::process::ExitCode;

fn main() -> ExitCode {
    pulseops::main()
}

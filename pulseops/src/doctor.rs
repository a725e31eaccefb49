//! `doctor`: the configuration without its secrets, then what is missing or unreachable, each with what to
//! do about it. It changes nothing.

mod database;
mod machine;
mod peers;
mod shown;

use std::fmt;
use std::process::ExitCode;

use crate::config::Config;

/// What was found about one thing.
#[derive(Clone, Debug)]
struct Finding {
    verdict: Verdict,
    about: &'static str,
    /// What is.
    is: String,
    /// What to do; empty when nothing.
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// Works without, with less.
    Note,
    /// Does not work.
    Bad,
}

impl Finding {
    fn good(about: &'static str, is: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, about, is: is.into(), advice: String::new() }
    }

    fn note(about: &'static str, is: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, about, is: is.into(), advice: advice.into() }
    }

    fn bad(about: &'static str, is: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, about, is: is.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "FAIL",
        };
        write!(f, "{mark}  {:<18} {}", self.about, self.is)?;
        if !self.advice.is_empty() {
            write!(f, "\n      {:<18} -> {}", "", self.advice)?;
        }
        Ok(())
    }
}

/// Prints configuration and findings; fails when something that is needed is missing.
///
/// # Errors
/// None but of the output.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    println!("{}", shown::configuration(config)?);
    let mut findings = machine::look(config).await;
    findings.extend(database::look(config).await);
    findings.extend(peers::look(config).await);
    for finding in &findings {
        println!("{finding}");
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if bad == 0 {
        println!("\nnothing that is needed is missing");
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{bad} of {} checks failed", findings.len());
    Ok(ExitCode::FAILURE)
}

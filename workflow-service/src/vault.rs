//! The values of http steps' headers, which may be tokens: sealed at rest for the workflow and the
//! header that they belong to, masked in answers. Rows and stored programs hold them sealed; only the
//! call itself opens them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use platform::error::{Error, Result};
use platform::secret::{Sealer, Secret};
use proto::workflow::v1::{self as pb, step::Kind};
use uuid::Uuid;

use crate::definitions::Faults;

/// What answers show instead of a value, and what means "as it is stored" in requests.
pub const MASK: &str = "***";

/// The workflow that a value belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Its organization.
    pub org: Uuid,
    /// Its id.
    pub workflow: Uuid,
}

/// Seals and opens the values.
#[derive(Clone)]
pub struct Vault(Sealer);

impl Vault {
    /// `sealer` is the service's own.
    pub fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    /// The value of the header `name`, as text to be stored.
    ///
    /// # Errors
    /// Internal, when it is too long.
    pub fn seal(&self, of: Owner, name: &str, value: &str) -> Result<String> {
        Ok(STANDARD_NO_PAD.encode(self.0.seal(&place(of, name), value.as_bytes())?))
    }

    /// What [`seal`](Self::seal) made for the same workflow and header.
    ///
    /// # Errors
    /// Internal: it was sealed for another place or by another key, or is damaged.
    pub fn open(&self, of: Owner, name: &str, sealed: &str) -> Result<Secret<String>> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(Error::internal)?;
        let value = self.0.open(&place(of, name), &bytes)?;
        Ok(Secret::new(String::from_utf8(value).map_err(Error::internal)?))
    }

    /// `steps`, as somebody sent them, as they are stored. A value that is [`MASK`] is the one that
    /// `stored` has for the same step and header.
    ///
    /// # Errors
    /// Invalid `required` for each masked value that stands for none.
    pub fn seal_steps(&self, of: Owner, steps: &[pb::Step], stored: &[pb::Step]) -> Result<Vec<pb::Step>> {
        let mut faults = Faults::default();
        let mut sealed = steps.to_vec();
        for (index, step) in sealed.iter_mut().enumerate() {
            let before = same_step(index, step, stored);
            let Some(Kind::Http(http)) = &mut step.kind else { continue };
            for (name, value) in &mut http.headers {
                if value != MASK {
                    *value = self.seal(of, name, value)?;
                } else if let Some(kept) = before.and_then(|before| header(before, name)) {
                    kept.clone_into(value);
                } else {
                    let field = format!("workflow.steps[{index}].http.headers.{name}");
                    faults.add(&field, "required", "must be given: there is no stored value that *** means");
                }
            }
        }
        faults.into_result()?;
        Ok(sealed)
    }
}

/// Hides every value of the steps' headers.
pub fn mask(steps: &mut [pb::Step]) {
    for step in steps {
        if let Some(Kind::Http(http)) = &mut step.kind {
            http.headers.values_mut().for_each(|value| MASK.clone_into(value));
        }
    }
}

/// The stored step that a step sent anew is: one with the same name and url, the one at the same
/// place first; else the one at the same place, as long as it calls the same host. A token must not
/// follow a changed url to somebody else.
fn same_step<'s>(index: usize, step: &pb::Step, stored: &'s [pb::Step]) -> Option<&'s pb::HttpStep> {
    let Some(Kind::Http(http)) = &step.kind else { return None };
    let is_same =
        |other: &&pb::Step| other.name == step.name && called(other).is_some_and(|it| it.url == http.url);
    let here = stored.get(index);
    let found = here.filter(is_same).or_else(|| stored.iter().find(is_same)).and_then(called);
    found.or_else(|| here.and_then(called).filter(|it| origin(&it.url) == origin(&http.url)))
}

fn called(step: &pb::Step) -> Option<&pb::HttpStep> {
    match &step.kind {
        Some(Kind::Http(http)) => Some(http),
        _ => None,
    }
}

/// Scheme, host and port as they are written.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{authority}").to_ascii_lowercase()
}

fn header<'s>(step: &'s pb::HttpStep, name: &str) -> Option<&'s str> {
    let same = step.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.as_str())
}

fn place(of: Owner, name: &str) -> Vec<u8> {
    format!("{}/workflows/{}/steps/{}", of.org, of.workflow, name.to_ascii_lowercase()).into_bytes()
}

#[cfg(test)]
mod tests {
    use platform::source::Source;

    use super::*;

    const OF: Owner = Owner { org: Uuid::from_u128(1), workflow: Uuid::from_u128(2) };

    fn vault() -> Vault {
        Vault::new(Sealer::new([7; 32], Source::system()))
    }

    fn step(name: &str, url: &str, value: &str) -> pb::Step {
        let headers = [("Authorization".to_owned(), value.to_owned())].into();
        let http = pb::HttpStep { url: url.to_owned(), headers, ..pb::HttpStep::default() };
        pb::Step { name: name.to_owned(), kind: Some(Kind::Http(http)) }
    }

    fn opened(steps: &[pb::Step]) -> Vec<String> {
        let values = steps.iter().filter_map(called).map(|http| header(http, "authorization").expect("set"));
        values.map(|it| vault().open(OF, "Authorization", it).expect("ours").expose().clone()).collect()
    }

    #[test]
    fn values_open_only_for_their_workflow_and_header() {
        let sealed = vault().seal(OF, "X-Token", "hunter2").expect("sealed");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(vault().open(OF, "x-token", &sealed).expect("opened").expose(), "hunter2");
        let other = Owner { workflow: Uuid::from_u128(3), ..OF };
        assert!(vault().open(other, "x-token", &sealed).is_err());
        assert!(vault().open(OF, "x-other", &sealed).is_err());
    }

    #[test]
    fn a_mask_keeps_the_value_of_the_same_step() {
        let before =
            [step("", "https://a.example/one", "first"), step("named", "https://b.example/", "second")];
        let stored = vault().seal_steps(OF, &before, &[]).expect("sealed");
        assert_ne!(stored, before);
        let cases = [
            (
                "unchanged",
                [step("", "https://a.example/one", MASK), step("named", "https://b.example/", MASK)],
            ),
            (
                "another path",
                [step("", "https://A.example/two", MASK), step("new", "https://b.example/x", MASK)],
            ),
        ];
        for (what, steps) in cases {
            let kept = vault().seal_steps(OF, &steps, &stored).expect(what);
            assert_eq!(opened(&kept), ["first", "second"], "{what}");
        }
        let swapped = [step("named", "https://b.example/", MASK), step("", "https://a.example/one", "third")];
        let kept = vault().seal_steps(OF, &swapped, &stored).expect("moved");
        assert_eq!(opened(&kept), ["second", "third"]);
    }

    #[test]
    fn a_mask_without_a_value_behind_it_is_refused() {
        let stored = vault().seal_steps(OF, &[step("", "https://a.example/", "first")], &[]).expect("sealed");
        for (what, url) in
            [("another host", "https://evil.example/"), ("another port", "https://a.example:8443/")]
        {
            let error = vault().seal_steps(OF, &[step("", url, MASK)], &stored).expect_err(what);
            assert_eq!(error.fields[0].field, "workflow.steps[0].http.headers.Authorization", "{what}");
        }
        let new =
            vault().seal_steps(OF, &[step("", "https://a.example/", MASK)], &[]).expect_err("nothing stored");
        assert_eq!(new.code, "required");
    }

    #[test]
    fn masks_hide_values_and_keep_names() {
        let mut steps = [step("", "https://a.example/", "first")];
        mask(&mut steps);
        assert_eq!(called(&steps[0]).and_then(|http| header(http, "Authorization")), Some(MASK));
    }
}

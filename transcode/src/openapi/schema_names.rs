//! Names of components: the message's own, told apart by its package only where two share one.

use std::collections::HashMap;

use crate::plan::Plans;

pub(super) struct SchemaNames(HashMap<String, String>);

impl SchemaNames {
    pub(super) fn new(plans: &Plans) -> Self {
        let types = types(plans);
        let mut uses: HashMap<&str, usize> = HashMap::new();
        for (_, short, _) in &types {
            *uses.entry(short).or_default() += 1;
        }
        let name = |(full, short, package): &(String, String, String)| {
            let name = match uses[short.as_str()] {
                1 if !RESERVED.contains(&short.as_str()) => short.clone(),
                _ => area(package) + short,
            };
            (full.clone(), name)
        };
        Self(types.iter().map(name).collect())
    }

    pub(super) fn get<'a>(&'a self, full_name: &'a str) -> &'a str {
        self.0.get(full_name).map_or(full_name, String::as_str)
    }
}

/// Components that every document has.
const RESERVED: [&str; 2] = ["Problem", "FieldError"];

/// (full name, name within the package, package) of every message and enum.
fn types(plans: &Plans) -> Vec<(String, String, String)> {
    let messages = plans.messages().map(|plan| (plan.descriptor.full_name(), plan.descriptor.package_name()));
    let enums = plans.enums().map(|plan| (plan.descriptor.full_name(), plan.descriptor.package_name()));
    messages
        .chain(enums)
        .map(|(full, package)| {
            let short = full.strip_prefix(package).unwrap_or(full).replace('.', "");
            (full.to_owned(), short, package.to_owned())
        })
        .collect()
}

/// `acme.billing.v1` to `Billing`: the last part that is no version.
fn area(package: &str) -> String {
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let part = package.split('.').rfind(|part| !is_version(part)).unwrap_or_default();
    let mut chars = part.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// Messages whose names would be taken for a variant of another: `ThingInput` beside `Thing`.
pub(crate) fn clashes(plans: &Plans) -> Vec<String> {
    let types = types(plans);
    let is_taken = |name: &str| types.iter().any(|(_, short, _)| short == name);
    let clash = |short: &str| {
        ["Input", "Patch"].iter().any(|suffix| short.strip_suffix(suffix).is_some_and(is_taken))
    };
    let clashing = types.iter().filter(|(_, short, _)| clash(short));
    clashing
        .map(|(full, ..)| format!("{full}: the suffixes Input and Patch belong to OpenAPI schemas"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_the_packages_last_word() {
        assert_eq!(area("acme.billing.v1"), "Billing");
        assert_eq!(area("acme.vault.v1beta1"), "Vault");
        assert_eq!(area(""), "");
    }
}

//! Path templates of `google.api.http`: literals and whole-segment variables, `/v1/things/{id}/stop`.

/// A parsed path template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    raw: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Wildcards, nested field paths and `:verb` suffixes are refused.
    pub(crate) fn parse(raw: &str) -> Result<Self, String> {
        let rest = raw.strip_prefix('/').ok_or_else(|| format!("path `{raw}` must begin with /"))?;
        let segments = rest
            .split('/')
            .map(|segment| parse_segment(segment).map_err(|why| format!("path `{raw}`: {why}")))
            .collect::<Result<Vec<_>, _>>()?;
        let template = Self { raw: raw.to_owned(), segments };
        let mut names: Vec<_> = template.variables().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("path `{raw}` names a variable twice"));
        }
        Ok(template)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.raw
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Names of the variables, left to right.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The path without the variables' names: equal shapes match the same requests.
    pub(crate) fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.raw.len());
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Variable(_) => shape.push_str("{}"),
            }
        }
        shape
    }
}

fn parse_segment(segment: &str) -> Result<Segment, &'static str> {
    if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return if plain {
            Ok(Segment::Variable(name.to_owned()))
        } else {
            Err("a variable must be the name of a top-level field")
        };
    }
    let literal = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    if segment.is_empty() || !segment.chars().all(literal) {
        return Err("segments are literals or {variables}");
    }
    Ok(Segment::Literal(segment.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_shapes() {
        let template = Template::parse("/v1/teams/{team_id}/members/{id}").expect("valid");
        assert_eq!(template.variables().collect::<Vec<_>>(), ["team_id", "id"]);
        assert_eq!(template.shape(), "/v1/teams/{}/members/{}");
        for bad in ["v1", "/", "/v1//x", "/v1/{a.b}", "/v1/{a=*}", "/v1/x:go", "/{a}/{a}", "/v1/**"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}

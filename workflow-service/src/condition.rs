//! Conditions of workflows: CEL over `incident`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::{Context, ExecutionError, IdedExpr, Program, Value};
use proto::events::v1::IncidentEvent;
use proto::incident::v1::Incident;

use crate::convert;

/// Why a condition is refused, with its place where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Line and column, from 1.
    pub at: Option<(isize, isize)>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// A compiled condition.
pub struct Condition(Option<Program>);

impl Condition {
    /// Compiles `text`; an empty one holds for every incident.
    ///
    /// # Errors
    /// [`Refused`] when it does not parse, names something that does not exist or does not answer
    /// with true or false.
    pub fn compile(text: &str) -> Result<Self, Refused> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.into_iter().next();
            first.map_or_else(
                || Refused { at: None, why: "cannot be read".to_owned() },
                |error| Refused { at: Some(error.pos), why: error.msg },
            )
        })?;
        check_fields(&program, program.expression())?;
        try_out(&program)?;
        Ok(Self(Some(program)))
    }

    /// Whether the condition holds. One that cannot be evaluated, as when it reads a label that the
    /// incident does not carry, does not hold; the error says why.
    ///
    /// # Errors
    /// Why it cannot be evaluated.
    pub fn holds(&self, root: &Context<'_, '_>, incident: &Value) -> Result<bool, String> {
        let Some(program) = &self.0 else { return Ok(true) };
        let mut scope = root.new_inner_scope();
        scope.add_variable_from_value("incident", incident.clone());
        match program.execute(&scope) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("answers {} instead of true or false", other.type_of())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.0.is_some()).finish()
    }
}

/// Refuses `incident.<field>` for a field that incidents do not have, wherever it stands.
fn check_fields(program: &Program, at: &IdedExpr) -> Result<(), Refused> {
    if let Expr::Select(select) = &at.expr
        && matches!(&select.operand.expr, Expr::Ident(name) if name == "incident")
        && !FIELDS.contains(&select.field.as_str())
    {
        let why = format!("an incident has no field {}", select.field);
        return Err(Refused { at: place(program, select.operand.id), why });
    }
    children(&at.expr).into_iter().try_for_each(|child| check_fields(program, child))
}

fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(it) => {
            vec![&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(entry_children).collect(),
        Expr::Struct(it) => it.entries.iter().flat_map(entry_children).collect(),
    }
}

fn entry_children(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn place(program: &Program, id: u64) -> Option<(isize, isize)> {
    let info = program.source_info();
    let start = usize::try_from(info.offset_for(id)?.0).ok()?;
    let before: String = info.source.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Some((isize::try_from(line).ok()?, isize::try_from(column).ok()?))
}

/// Runs a program once: names that do not exist and answers that are no truth show then.
fn try_out(program: &Program) -> Result<(), Refused> {
    let mut root = Context::default();
    root.add_variable_from_value("incident", incident_value(&IncidentEvent::default()));
    let why = match program.execute(&root) {
        // Which labels are there is the incident's matter.
        Ok(Value::Bool(_)) | Err(ExecutionError::NoSuchKey(_)) => return Ok(()),
        Ok(other) => format!("answers {} instead of true or false", other.type_of()),
        Err(error) => error.to_string(),
    };
    Err(Refused { at: None, why })
}

const FIELDS: [&str; 14] = [
    "id",
    "number",
    "title",
    "description",
    "severity",
    "urgency",
    "status",
    "service",
    "service_id",
    "team",
    "team_id",
    "labels",
    "attributes",
    "reopen_count",
];

/// What a condition sees as `incident`: names in lower case, `service` and `team` by name.
pub fn incident_value(event: &IncidentEvent) -> Value {
    let empty = Incident::default();
    let incident = event.incident.as_ref().unwrap_or(&empty);
    let name = |reference: &Option<proto::api::v1::Reference>| {
        Value::from(reference.as_ref().map_or("", |it| it.name.as_str()))
    };
    let values: [Value; FIELDS.len()] = [
        incident.id.as_str().into(),
        Value::Int(incident.number),
        incident.title.as_str().into(),
        incident.description.as_str().into(),
        convert::severity_name(incident.severity()).into(),
        convert::urgency_name(incident.urgency()).into(),
        convert::incident_status(incident.status()).unwrap_or("").into(),
        name(&event.service),
        incident.service_id.as_str().into(),
        name(&event.team),
        incident.team_id.as_deref().unwrap_or("").into(),
        map_value(&incident.labels),
        map_value(&event.attributes),
        Value::Int(i64::from(incident.reopen_count)),
    ];
    let fields: HashMap<&str, Value> = FIELDS.into_iter().zip(values).collect();
    Value::Map(fields.into())
}

fn map_value(map: &BTreeMap<String, String>) -> Value {
    let values: HashMap<&str, Value> =
        map.iter().map(|(key, value)| (key.as_str(), value.as_str().into())).collect();
    Value::Map(values.into())
}

#[cfg(test)]
mod tests {
    use proto::api::v1::{Reference, Severity};

    use super::*;

    fn event() -> IncidentEvent {
        let incident = Incident {
            number: 12,
            severity: Severity::Critical.into(),
            labels: [("region".to_owned(), "eu".to_owned())].into(),
            ..Incident::default()
        };
        let service = Some(Reference { id: String::new(), name: "Payment".to_owned() });
        IncidentEvent { incident: Some(incident), service, ..IncidentEvent::default() }
    }

    fn holds(text: &str) -> Result<bool, String> {
        let condition = Condition::compile(text).expect(text);
        condition.holds(&Context::default(), &incident_value(&event()))
    }

    #[test]
    fn conditions_read_the_incident() {
        let cases = [
            ("", true),
            ("incident.severity == 'critical' && incident.service == 'Payment'", true),
            ("incident.severity in ['low', 'info']", false),
            ("incident.labels.region == 'eu' && incident.number > 11", true),
            ("has(incident.labels.tier) && incident.labels.tier == '1'", false),
            ("incident.title.contains('charge') || incident.urgency == ''", true),
        ];
        for (text, expected) in cases {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_label_that_is_not_there_is_an_error_and_not_a_match() {
        assert!(holds("incident.labels.tier == '1'").is_err());
    }

    #[test]
    fn bad_conditions_are_refused_with_their_place() {
        let syntax = Condition::compile("incident.number >\n  ==").expect_err("syntax");
        assert!(syntax.at.is_some_and(|(line, _)| line >= 1), "{syntax}");
        let field = Condition::compile("true ||\n incident.nope == 1").expect_err("no such field");
        assert_eq!(field.to_string(), "line 2, column 2: an incident has no field nope");
        for text in [
            "incident.labels.exists(l, incident.x == l)",
            "event.name == 'x'",
            "incident.number",
            "nope(incident.title)",
        ] {
            assert!(Condition::compile(text).is_err(), "{text}");
        }
    }
}

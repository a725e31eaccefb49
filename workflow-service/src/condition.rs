//! Conditions of workflows: expressions over `incident`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use expression::{Bindings, EvalFault, Expression, Fault, Field, Schema, Type, Value};
use proto::api::v1::Reference;
use proto::events::v1::IncidentEvent;
use proto::incident::v1::Incident;

use crate::convert;

/// An incident as expressions may read it; sizes are the limits of the contract's `Incident`. An
/// alert's labels and its event's attributes come together in `attributes`.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new().with(
        "incident",
        [
            Field::text("id", 36),
            Field::new("number", Type::Int),
            Field::text("title", 255),
            Field::text("description", 16_000),
            Field::words("severity", &["critical", "high", "medium", "low", "info"]),
            Field::words("urgency", &["high", "low"]),
            Field::words("status", &["triggered", "acknowledged", "resolved"]),
            Field::text("service", 255),
            Field::text("service_id", 36),
            Field::text("team", 255),
            Field::text("team_id", 36),
            Field::new("labels", Type::Map { max: 64, key: 128, value: 1024 }),
            Field::new("attributes", Type::Map { max: 192, key: 128, value: 4096 }),
            Field::new("reopen_count", Type::Int),
        ],
    )
});

/// The incident of an event that carries none.
static NONE: LazyLock<Incident> = LazyLock::new(Incident::default);

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    /// None: it holds for every incident.
    expression: Option<Expression>,
    failed: AtomicBool,
}

impl Condition {
    /// Compiles `text`; an empty one holds for every incident.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn compile(text: &str) -> Result<Self, Fault> {
        let expression = match text.trim() {
            "" => None,
            _ => Some(Expression::compile(text, &SCHEMA)?),
        };
        Ok(Self { expression, failed: AtomicBool::new(false) })
    }

    /// Steps that one incident takes at worst.
    pub fn cost(&self) -> u64 {
        self.expression.as_ref().map_or(0, Expression::cost)
    }

    /// Whether the condition holds for `incident`. One that reads a label which the incident does
    /// not carry does not.
    ///
    /// # Errors
    /// What could not be known before: a label that is no number, a division by zero.
    pub fn holds(&self, incident: &Bindings<'_>) -> Result<bool, EvalFault> {
        self.expression.as_ref().map_or(Ok(true), |expression| expression.holds(incident))
    }

    /// Notes that it could not be evaluated; whether that is the first time.
    pub fn fails_first(&self) -> bool {
        !self.failed.swap(true, Ordering::Relaxed)
    }
}

/// What a condition sees as `incident`: names in lower case, `service` and `team` by name.
pub fn bound(event: &IncidentEvent) -> Bindings<'_> {
    let incident = event.incident.as_ref().unwrap_or(&NONE);
    let fields = [
        ("id", Value::Text(&incident.id)),
        ("number", Value::Int(incident.number)),
        ("title", Value::Text(&incident.title)),
        ("description", Value::Text(&incident.description)),
        ("severity", Value::Text(convert::severity_name(incident.severity()))),
        ("urgency", Value::Text(convert::urgency_name(incident.urgency()))),
        ("status", Value::Text(convert::incident_status(incident.status()).unwrap_or(""))),
        ("service", Value::Text(name(event.service.as_ref()))),
        ("service_id", Value::Text(&incident.service_id)),
        ("team", Value::Text(name(event.team.as_ref()))),
        ("team_id", Value::Text(incident.team_id.as_deref().unwrap_or(""))),
        ("labels", Value::Map(&incident.labels)),
        ("attributes", Value::Map(&event.attributes)),
        ("reopen_count", Value::Int(i64::from(incident.reopen_count))),
    ];
    Bindings::new().with(&SCHEMA, "incident", fields)
}

fn name(reference: Option<&Reference>) -> &str {
    reference.map_or("", |it| it.name.as_str())
}

#[cfg(test)]
mod tests {
    use proto::api::v1::Severity;

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

    fn holds(text: &str) -> Result<bool, EvalFault> {
        Condition::compile(text).expect(text).holds(&bound(&event()))
    }

    #[test]
    fn conditions_read_the_incident() {
        let cases = [
            ("", true),
            ("incident.severity == 'critical' && incident.service == 'Payment'", true),
            ("incident.severity in ['low', 'info']", false),
            ("incident.labels.region == 'eu' && incident.number > 11", true),
            ("has(incident.labels.tier) && incident.labels.tier == '1'", false),
            ("incident.title.contains('charge') || incident.urgency != 'high'", true),
            ("incident.attributes.size() == 0 && incident.reopen_count == 0", true),
        ];
        for (text, expected) in cases {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_label_that_is_not_there_does_not_match() {
        assert_eq!(holds("incident.labels.tier == '1'"), Ok(false));
        assert_eq!(holds("!(incident.labels.tier == '1')"), Ok(false));
    }

    #[test]
    fn a_label_that_is_no_number_is_a_fault() {
        assert!(holds("int(incident.labels.region) > 3").is_err());
    }

    #[test]
    fn every_field_of_the_schema_is_bound() {
        let event = event();
        let bound = bound(&event);
        for field in ["id", "title", "description", "severity", "urgency", "status", "service", "service_id"]
        {
            let condition = Condition::compile(&format!("has(incident.{field})")).expect(field);
            assert_eq!(condition.holds(&bound), Ok(true), "{field}");
        }
        for field in ["number", "team", "team_id", "labels", "attributes", "reopen_count"] {
            let condition = Condition::compile(&format!("has(incident.{field})")).expect(field);
            assert_eq!(condition.holds(&bound), Ok(true), "{field}");
        }
    }

    #[test]
    fn bad_conditions_are_refused_with_their_place() {
        let fault = Condition::compile("true ||\n incident.nope == 1").expect_err("no such field");
        assert!(fault.to_string().starts_with("line 2, column 11: incident has no field nope"), "{fault}");
        for text in [
            "incident.labels.exists(l, incident.x == l)",
            "incident.labels.tier > 3",
            "event.name == 'x'",
            "incident.number",
            "nope(incident.title)",
            "incident.severity >= 'high'",
            "incident.status in ['open']",
            "incident.urgency == 'HIGH'",
        ] {
            assert!(Condition::compile(text).is_err(), "{text}");
        }
    }

    /// The page that people read: its fields are there, its examples compile.
    #[test]
    fn the_documentation_is_right() {
        let page = include_str!("../../docs/expressions.md");
        let fields = page.lines().filter(|line| line.starts_with("| `incident."));
        let fields: Vec<&str> = fields
            .flat_map(|row| row.split('`').filter(|it| it.starts_with("incident.") && !it.contains('[')))
            .collect();
        let examples = page.split("```condition\n").skip(1).filter_map(|rest| rest.split("```").next());
        let examples: Vec<&str> = examples.flat_map(str::lines).collect();
        assert!(fields.len() > 7 && examples.len() > 3);
        for text in
            fields.iter().map(|field| format!("has({field})")).chain(examples.into_iter().map(str::to_owned))
        {
            if let Err(fault) = Condition::compile(&text) {
                panic!("{text}: {fault}");
            }
        }
    }
}

//! Values for the variables, borrowed from whoever holds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelMap, CelMapKey, CelString, CelTimestamp, DYN_TYPE, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError, IdedExpr};
use chrono::{DateTime, Utc};

use crate::pattern::Pattern;
use crate::schema::{Schema, Type};
use crate::types::longest;

/// What `text.matches("…")` becomes: a function of a text and a [`Pattern`].
pub(crate) const MATCHES: &str = "@matches";

/// Knows every function, which costs more than a thousand evaluations: made once.
static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_overload(MATCHES, MATCHES, vec![STRING_TYPE, DYN_TYPE], matches)
        .expect("the name cannot be written, so nobody else has it");
    Context::with_env(Arc::new(env))
});

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = args.first().and_then(|text| text.downcast_ref::<CelString>());
    let pattern = args.get(1).and_then(|pattern| pattern.downcast_ref::<Pattern>());
    let (Some(text), Some(pattern)) = (text, pattern) else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    Ok(CowVal::owned(CelBool::from(pattern.is_match(text.inner()))))
}

/// Evaluates what needs no variable.
///
/// # Errors
/// What the evaluator says.
pub(crate) fn constant(expr: &IdedExpr) -> Result<(), ExecutionError> {
    cel::Value::resolve(expr, &ROOT).map(drop)
}

/// A field's value. What a variable does not have is left out: there is no null.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Of [`Type::Bool`].
    Bool(bool),
    /// Of [`Type::Int`].
    Int(i64),
    /// Of [`Type::Double`].
    Double(f64),
    /// Of [`Type::Text`].
    Text(&'a str),
    /// Of [`Type::Time`].
    Time(DateTime<Utc>),
    /// Of [`Type::Map`].
    Map(&'a BTreeMap<String, String>),
}

/// The variables' values; made once for all expressions that are asked about them.
pub struct Bindings<'a> {
    scope: Context<'a, 'a>,
    /// What was bound against the schema: no bound on the cost holds for it.
    fault: Option<String>,
}

impl<'a> Bindings<'a> {
    /// Nothing bound.
    #[must_use]
    pub fn new() -> Self {
        let root: &Context<'a, 'a> = &ROOT;
        Self { scope: root.new_inner_scope(), fault: None }
    }

    /// With these fields of `variable`, which `schema` declares. What is of another type or larger
    /// than declared makes every evaluation a fault, so that none takes longer than was reckoned.
    #[must_use]
    pub fn with(
        mut self,
        schema: &Schema,
        variable: &str,
        fields: impl IntoIterator<Item = (&'static str, Value<'a>)>,
    ) -> Self {
        let mut map: HashMap<CelMapKey<'a>, Box<dyn Val + 'a>> = HashMap::new();
        for (name, value) in fields {
            let fits = schema.field(variable, name).is_some_and(|field| fits(field.of, value));
            if !fits {
                self.fault = Some(format!("{variable}.{name} is larger than declared, or of another type"));
            }
            map.insert(CelMapKey::from(name), evaluated(value));
        }
        self.scope.add_variable_as_val(variable, Box::new(CelMap::from(map)));
        self
    }

    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The scope in which a pattern stands under its name.
    pub(crate) fn scope<'s>(&'s self, patterns: &[(String, Pattern)]) -> Context<'s, 'a> {
        let mut scope = self.scope.new_inner_scope();
        for (name, pattern) in patterns {
            scope.add_variable_as_val(name, Box::new(pattern.clone()));
        }
        scope
    }
}

impl Default for Bindings<'_> {
    fn default() -> Self {
        Self::new()
    }
}

fn fits(of: Type, value: Value<'_>) -> bool {
    match (of, value) {
        (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Double, Value::Double(_))
        | (Type::Time, Value::Time(_)) => true,
        (Type::Text { max }, Value::Text(text)) => is_within(text, max),
        // Only their length matters to the cost: what is not set is empty.
        (Type::Words(words), Value::Text(text)) => is_within(text, longest(words)),
        (Type::Map { max, key, value }, Value::Map(map)) => {
            let within = |(k, v): (&String, &String)| is_within(k, key) && is_within(v, value);
            map.len() <= max && map.iter().all(within)
        }
        _ => false,
    }
}

fn is_within(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}

fn evaluated<'a>(value: Value<'a>) -> Box<dyn Val + 'a> {
    match value {
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Int(value) => Box::new(CelInt::from(value)),
        Value::Double(value) => Box::new(CelDouble::from(value)),
        Value::Text(value) => Box::new(CelString::from(value)),
        Value::Time(value) => Box::new(CelTimestamp::from(value.fixed_offset())),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| {
                (
                    CelMapKey::from(key.as_str()),
                    Box::new(CelString::from(value.as_str())) as Box<dyn Val + 'a>,
                )
            });
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

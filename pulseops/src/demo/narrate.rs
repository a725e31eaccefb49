//! How the demo talks.

use serde_json::Value;

pub fn chapter(number: u8, title: &str) {
    println!("\n{number}. {title}");
}

pub fn line(text: impl AsRef<str>) {
    println!("   {}", text.as_ref());
}

/// The incident's timeline, one entry a line.
pub fn timeline(entries: &[Value]) {
    for entry in entries {
        let at = entry["at"].as_str().unwrap_or_default();
        let clock = at.get(11..23).unwrap_or(at);
        let kind = entry["kind"].as_str().unwrap_or_default();
        let actor = entry.pointer("/actor/name").and_then(Value::as_str).unwrap_or_default();
        println!("   {clock}  {kind:<16} {actor:<22} {}", detail(entry));
    }
}

fn detail(entry: &Value) -> String {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    if entry["step"].is_object() {
        let attempt = entry.pointer("/step/attempt").and_then(Value::as_i64).unwrap_or(1);
        format!("{} {} (try {attempt}) {}", text("/step/kind"), text("/step/outcome"), text("/step/detail"))
    } else if entry["escalation"].is_object() {
        let level = entry.pointer("/escalation/level").and_then(Value::as_i64).unwrap_or_default();
        format!("level {level}")
    } else if entry["notification"].is_object() {
        format!(
            "{} to {} {}",
            text("/notification/method"),
            text("/notification/recipient"),
            text("/notification/outcome")
        )
    } else if entry["note"].is_object() {
        text("/note/text")
    } else if entry["alert"].is_object() {
        text("/alert/title")
    } else {
        String::new()
    }
}

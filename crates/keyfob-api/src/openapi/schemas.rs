//! Schemas in forms that generators of clients turn into strict types.

use serde_json::{Value, json};

use super::{JSON, entries};

/// Removes default values. A default of a request is told in words: generators take one as a promise
/// that the field is always there.
pub(super) fn without_defaults(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("default");
    for (name, inner) in fields {
        match (&**name, inner) {
            ("properties", properties) => {
                entries(properties).for_each(|(_, schema)| without_defaults(schema));
            }
            ("oneOf" | "allOf" | "anyOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(without_defaults);
            }
            ("items" | "additionalProperties", schema) => without_defaults(schema),
            _ => {}
        }
    }
}

/// Removes `null` from the types of a parameter, which is left out and never null.
pub(super) fn without_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type")
        && let Some([only]) = types
            .as_array()
            .map(|types| {
                let named = types.iter().filter(|one| *one != "null");
                named.cloned().collect::<Vec<_>>()
            })
            .as_deref()
    {
        *types = only.clone();
    }
}

/// Says of a body whether it is required. One that may be left out is never null.
pub(super) fn body(body: &mut Value) {
    let schema = &mut body["content"][JSON]["schema"];
    let mut is_optional = false;
    if let Some(parts) = schema.get("oneOf").and_then(Value::as_array) {
        let is_null = |part: &&Value| part["type"] == "null";
        is_optional = parts.iter().any(|part| is_null(&part));
        let mut named = parts.iter().filter(|part| !is_null(part));
        if let (true, Some(only), None) = (is_optional, named.next().cloned(), named.next()) {
            *schema = only;
        }
    }
    body["required"] = json!(!is_optional);
}

/// Removes the components to which nothing refers.
pub(super) fn drop_unused(document: &mut Value) {
    loop {
        let mut used = Vec::new();
        collect(document, &mut used);
        let mut dropped = false;
        for kind in ["schemas", "responses", "headers"] {
            if let Some(components) = document["components"][kind].as_object_mut() {
                let before = components.len();
                components.retain(|name, _| used.contains(&format!("#/components/{kind}/{name}")));
                dropped |= components.len() < before;
            }
        }
        if !dropped {
            break;
        }
    }
}

fn collect(value: &Value, used: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner.as_str() {
                    Some(place) if name == "$ref" => used.push(place.to_owned()),
                    _ => collect(inner, used),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
        _ => {}
    }
}

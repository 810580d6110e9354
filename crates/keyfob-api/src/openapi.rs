//! The `OpenAPI` document: the handlers' parts, and what is the same for all calls.

mod schemas;

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, ServerBuilder, tag::TagBuilder,
    },
};

use crate::{
    authority::{Rule, rule_of},
    refusal::{ErrorBody, Kind},
};

/// The whole document: of the calls that need an authenticated caller, and of the public ones.
pub(crate) fn complete(admitted: OpenApi, public: OpenApi) -> Value {
    let public_paths: Vec<String> = public.paths.paths.keys().cloned().collect();
    let mut document = frame();
    document.merge(admitted);
    document.merge(public);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for (path, item) in entries(&mut document["paths"]) {
        let is_public = public_paths.contains(path);
        for (_, operation) in entries(item) {
            complete_operation(operation, is_public);
        }
    }
    let components = &mut document["components"];
    let error = serde_json::to_value(ErrorBody::schema()).unwrap_or_default();
    components["schemas"][&*ErrorBody::name()] = error;
    for (name, kind, about) in HEADERS {
        components["headers"][name] =
            json!({"description": about, "required": true, "schema": {"type": kind}});
    }
    for kind in Kind::ALL {
        components["responses"][kind.id()] = refusal(kind);
    }
    components["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A control key, whole: `id:secret`. Its scopes are its rights.",
    });
    for (_, schema) in entries(&mut components["schemas"]) {
        schemas::without_defaults(schema);
    }
    schemas::drop_unused(&mut document);
    document
}

fn frame() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("MIT or Apache-2.0")
        .identifier(Some("MIT OR Apache-2.0"));
    let info = InfoBuilder::new()
        .title("Keyfob control plane")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license.build()));
    let server = ServerBuilder::new()
        .url("/")
        .description(Some("The server that serves this document."));
    let tags = TAGS.map(|(name, about)| {
        let tag = TagBuilder::new().name(name).description(Some(about));
        tag.build()
    });
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([server.build()]))
        .tags(Some(tags))
        .build()
}

const SCHEME: &str = "control_key";

const DESCRIPTION: &str = "\
Access keys for services: issued to a person or service, for one namespace, verified on every call, \
and revoked permanently when the person leaves.

`/v2/functions/…` is the published interface for access keys of namespaces (`x-published`), with \
extensions of its resources. `/v1/…` is about teams, their members, and what concerns all teams. What \
belongs to another team gets 404, exactly as what does not exist. Each call names the right that it \
takes (`x-rights`, for the caller's own keys and for others').";

const TAGS: [(&str, &str); 10] = [
    ("Namespaces", "What keys open."),
    ("Access keys", "Keys of a namespace, each with an owner."),
    (
        "Policies",
        "What keys may be, for a namespace and by default.",
    ),
    (
        "Legacy credentials",
        "The shared credentials that keys replace, and their end.",
    ),
    (
        "Members and services",
        "The owners of keys, and their removal.",
    ),
    ("Teams", "The owners of namespaces."),
    ("Use", "How much is used, and by which replicas."),
    ("Audit", "What was changed, by whom."),
    (
        "Presented credentials",
        "Calls with the text of a credential.",
    ),
    ("Caller", "The caller itself."),
];

/// The calls of the published interface, by their identifiers.
const PUBLISHED: [&str; 8] = [
    "list_namespaces",
    "create_namespace",
    "show_namespace",
    "delete_namespace",
    "list_keys",
    "create_key",
    "update_key",
    "delete_key",
];

/// Completes the handler's part of the document.
fn complete_operation(operation: &mut Value, is_public: bool) {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let (rule, is_published) = (rule_of(id), PUBLISHED.contains(&id));
    operation["security"] = if is_public {
        json!([])
    } else {
        json!([{SCHEME: []}])
    };
    // Scopes of a security requirement are those of OAuth 2.0 for many tools.
    if let Some(rule) = rule {
        operation["x-rights"] = json!({"own": rule.own.as_str(), "others": rule.team.as_str()});
    }
    if is_published {
        operation["x-published"] = json!(true);
    }
    let about = operation["description"].as_str().unwrap_or_default();
    let about = format!("{about}\n\n{}", takes(rule, is_public));
    operation["description"] = json!(about.trim_start());
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        for parameter in parameters {
            schemas::without_null(&mut parameter["schema"]);
        }
    } else if let Some(operation) = operation.as_object_mut() {
        // Indexing has inserted it.
        operation.remove("parameters");
    }
    let has_body = operation.get("requestBody").is_some();
    if has_body {
        schemas::body(&mut operation["requestBody"]);
    }
    complete_responses(&mut operation["responses"], is_public, has_body);
}

/// What a call takes, in words.
fn takes(rule: Option<&Rule>, is_public: bool) -> String {
    match rule {
        _ if is_public => "Takes no credential but the one in the body.".to_owned(),
        None => "Takes no right, only a control key.".to_owned(),
        Some(rule) if rule.own == rule.team => format!("Takes the right `{}`.", rule.own.as_str()),
        Some(rule) => format!(
            "Takes the right `{}`; for keys of other owners `{}`.",
            rule.own.as_str(),
            rule.team.as_str()
        ),
    }
}

/// Adds what every answer has, and the refusals that an operation does not mention itself.
fn complete_responses(responses: &mut Value, is_public: bool, has_body: bool) {
    for (status, response) in entries(responses) {
        let schema = &response["content"][JSON]["schema"]["$ref"];
        let schema = schema.as_str().unwrap_or_default().to_owned();
        let is_key = ["/ShownKey", "/CreatedKey"]
            .iter()
            .any(|key| schema.ends_with(key));
        let headers = COMMON.into_iter().chain(is_key.then_some("etag"));
        response["headers"] = references("headers", headers);
        if !status.starts_with('2') {
            response["content"] = error();
        } else if schema.is_empty() {
            tidy(response);
        }
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Conflict | Kind::PreconditionFailed => false,
        Kind::Unauthorized | Kind::NotFound => !is_public,
        Kind::RequestTimeout | Kind::PayloadTooLarge => has_body,
        _ => true,
    });
    for kind in kinds {
        let status = kind.status();
        if responses.get(status.as_str()).is_none() {
            let place = format!("#/components/responses/{}", kind.id());
            responses[status.as_str()] = json!({"$ref": place});
        }
    }
}

/// Removes the content that looking at it has inserted.
fn tidy(response: &mut Value) {
    let content = &response["content"][JSON]["schema"];
    if content.get("$ref").is_none_or(Value::is_null)
        && content.get("type").is_none()
        && let Some(response) = response.as_object_mut()
    {
        response.remove("content");
    }
}

const JSON: &str = "application/json";

/// The response of a refusal.
fn refusal(kind: Kind) -> Value {
    let mut sentence = kind.sentence().to_owned();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let own = match kind {
        Kind::Unauthorized => Some("www-authenticate"),
        Kind::MethodNotAllowed => Some("allow"),
        Kind::TooManyRequests | Kind::ServiceUnavailable => Some("retry-after"),
        _ => None,
    };
    json!({
        "description": sentence + ".",
        "headers": references("headers", COMMON.into_iter().chain(own)),
        "content": error(),
    })
}

fn error() -> Value {
    json!({JSON: {"schema": {"$ref": format!("#/components/schemas/{}", ErrorBody::name())}}})
}

/// The headers of every answer.
const COMMON: [&str; 4] = [
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-request-id",
];

/// Every header: its type, and what it says.
const HEADERS: [(&str, &str, &str); 8] = [
    (
        "ratelimit-limit",
        "integer",
        "How many requests the caller may make at once.",
    ),
    ("ratelimit-remaining", "integer", "How many are left."),
    (
        "ratelimit-reset",
        "integer",
        "When the full number is available again, in Unix seconds.",
    ),
    ("x-request-id", "string", "The identifier of the request."),
    (
        "etag",
        "string",
        "The state of the key, for `If-Match`: its revision in quotes.",
    ),
    (
        "retry-after",
        "integer",
        "After how many seconds the request may be sent again.",
    ),
    ("www-authenticate", "string", "How to authenticate."),
    ("allow", "string", "The methods of the resource."),
];

fn references<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Value {
    let place = |name| json!({"$ref": format!("#/components/{kind}/{name}")});
    let references = names.map(|name| (name.to_owned(), place(name)));
    Value::Object(references.collect())
}

/// The fields of an object; none of another value.
fn entries(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ControlPlane, authority::OPERATIONS};

    #[test]
    fn every_operation_is_in_the_table_of_rights() {
        let mut document = ControlPlane::openapi();
        let mut ids = Vec::new();
        for (_, item) in entries(&mut document["paths"]) {
            for (_, operation) in entries(item) {
                ids.push(operation["operationId"].as_str().unwrap().to_owned());
            }
        }
        let mut known: Vec<_> = OPERATIONS.iter().map(|(id, _)| (*id).to_owned()).collect();
        ids.sort();
        known.sort();
        assert_eq!(ids, known);
        assert!(
            PUBLISHED
                .iter()
                .all(|id| ids.iter().any(|known| known == id))
        );
    }
}

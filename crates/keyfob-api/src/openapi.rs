//! The `OpenAPI` document: the handlers' parts, and what is the same for all calls.

use std::collections::BTreeMap;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Content, ContentBuilder, Header, HeaderBuilder, InfoBuilder, ObjectBuilder, OpenApi,
        OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, PathItem},
        schema::{Components, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::refusal::{ErrorBody, Kind};

/// The whole document: of the calls that need an authenticated caller, and of the public ones.
pub(crate) fn complete(admitted: OpenApi, public: OpenApi) -> OpenApi {
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Keyfob control plane")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .build(),
        )
        .build();
    document.merge(admitted);
    for operation in operations(&mut document) {
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(
            SCHEME,
            [],
        )]);
        refuse(operation, &ADMITTED);
    }
    let mut public = public;
    for operation in operations(&mut public) {
        operation.security = Some(Vec::new());
        refuse(operation, &PUBLIC);
    }
    document.merge(public);
    let components = document.components.get_or_insert(Components::new());
    components
        .schemas
        .insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    for (name, about) in HEADERS {
        let header = RefOr::T(header(name, about));
        components.headers.insert(name.to_owned(), header);
    }
    for kind in Kind::ALL {
        let response = RefOr::T(said(kind.sentence()));
        components.responses.insert(kind.id().to_owned(), response);
    }
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A control key, whole: `id:secret`."))
        .build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
    document
}

const SCHEME: &str = "control_key";

const DESCRIPTION: &str = "\
Access keys for services: issued to a person or service, for one namespace, verified on every call, \
and revoked permanently when the person leaves.

`/v2/functions/…` is the published interface for access keys of namespaces, with extensions of its \
resources. `/v1/…` is about teams, their members, and what concerns all teams. What belongs to \
another team gets 404, exactly as what does not exist.";

/// The refusals of every call that needs an authenticated caller.
const ADMITTED: [Kind; 7] = [
    Kind::BadRequest,
    Kind::Unauthorized,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::TooManyRequests,
    Kind::ServerError,
    Kind::ServiceUnavailable,
];

/// The refusals of every public call.
const PUBLIC: [Kind; 4] = [
    Kind::BadRequest,
    Kind::TooManyRequests,
    Kind::ServerError,
    Kind::ServiceUnavailable,
];

/// The refusals of every call with a body.
const WITH_BODY: [Kind; 2] = [Kind::PayloadTooLarge, Kind::UnsupportedMediaType];

/// The headers of every answer.
const HEADERS: [(&str, &str); 4] = [
    (
        "ratelimit-limit",
        "How many requests the caller may make at once.",
    ),
    ("ratelimit-remaining", "How many are left."),
    (
        "ratelimit-reset",
        "When the full number is available again, in Unix seconds.",
    ),
    ("x-request-id", "The identifier of the request."),
];

fn header(name: &str, about: &str) -> Header {
    let kind = if name == "x-request-id" {
        Type::String
    } else {
        Type::Integer
    };
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .description(Some(about))
        .build()
}

/// Adds the refusals that an operation does not mention, and a body to those that it does.
fn refuse(operation: &mut Operation, kinds: &[Kind]) {
    let with_body: &[Kind] = match operation.request_body {
        Some(_) => &WITH_BODY,
        None => &[],
    };
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response {
            response.headers = headers();
            if !status.starts_with('2') {
                response.content.insert(JSON.to_owned(), RefOr::T(error()));
            }
        }
    }
    for kind in kinds.iter().chain(with_body) {
        responses
            .entry(kind.status().as_str().to_owned())
            .or_insert_with(|| RefOr::Ref(Ref::from_response_name(kind.id())));
    }
}

const JSON: &str = "application/json";

fn error() -> Content {
    let error = RefOr::Ref(Ref::from_schema_name(ErrorBody::name()));
    ContentBuilder::new().schema(Some(error)).build()
}

/// The headers of every answer, as references.
fn headers() -> BTreeMap<String, RefOr<Header>> {
    let place = |name| Ref::new(format!("#/components/headers/{name}"));
    let headers = HEADERS.iter();
    headers
        .map(|(name, _)| ((*name).to_owned(), RefOr::Ref(place(*name))))
        .collect()
}

fn said(sentence: &str) -> Response {
    let mut sentence = sentence.to_owned();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let mut response = ResponseBuilder::new()
        .description(sentence + ".")
        .content(JSON, error())
        .build();
    response.headers = headers();
    response
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(of_path)
}

fn of_path(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .filter_map(Option::as_mut)
}

//! Refuses what a page of another site has a browser send.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, header},
};

/// Whether a request reads only, or comes from a page of this origin by what the browser says.
///
/// `Sec-Fetch-Site` cannot be set by a page. Where a browser does not send it, `Origin` must name the
/// host that the request was sent to. A request that changes something and has neither is refused.
pub(crate) fn admits(request: &Request) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return true;
    }
    let headers = request.headers();
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Field::One(value.clone()),
            (None, _) => Field::None,
            (Some(_), Some(_)) => Field::Several,
        }
    };
    let of_this_host = |origin: &HeaderValue| {
        let host = request
            .uri()
            .authority()
            .map(|host| host.as_str().to_owned());
        let host = host.or_else(|| match one(&header::HOST) {
            Field::One(host) => host.to_str().ok().map(ToOwned::to_owned),
            _ => None,
        });
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(&host))
    };
    match (one(&SEC_FETCH_SITE), one(&header::ORIGIN)) {
        (Field::One(site), Field::None) => site == "same-origin",
        (Field::One(site), Field::One(origin)) => site == "same-origin" && of_this_host(&origin),
        (Field::None, Field::One(origin)) => of_this_host(&origin),
        _ => false,
    }
}

/// A field of a request.
enum Field {
    None,
    One(HeaderValue),
    Several,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: &str, fields: &[(&str, &str)]) -> Request {
        let builder = axum::http::Request::builder().method(method).uri("/keys");
        let builder = fields.iter().fold(builder, |builder, (name, value)| {
            builder.header(*name, *value)
        });
        builder.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_form_of_this_origin_is_admitted() {
        for fields in [
            &[("host", "keys.example"), ("origin", "https://keys.example")][..],
            &[
                ("host", "127.0.0.1:8080"),
                ("origin", "http://127.0.0.1:8080"),
            ],
            &[("host", "keys.example"), ("sec-fetch-site", "same-origin")],
            &[
                ("host", "keys.example"),
                ("origin", "https://KEYS.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert!(admits(&request("POST", fields)), "{fields:?}");
        }
    }

    #[test]
    fn anything_else_that_changes_something_is_refused() {
        for fields in [
            &[("host", "keys.example")][..],
            &[("host", "keys.example"), ("origin", "null")],
            &[("host", "keys.example"), ("origin", "https://evil.example")],
            &[
                ("host", "keys.example"),
                ("origin", "https://keys.example.evil"),
            ],
            &[
                ("host", "keys.example"),
                ("origin", "https://keys.example:8443"),
            ],
            &[("host", "keys.example"), ("origin", "ftp://keys.example")],
            &[("host", "keys.example"), ("sec-fetch-site", "same-site")],
            &[("host", "keys.example"), ("sec-fetch-site", "none")],
            &[
                ("host", "keys.example"),
                ("origin", "https://keys.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[
                ("host", "keys.example"),
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("host", "keys.example"),
                ("origin", "https://keys.example"),
                ("origin", "https://keys.example"),
            ],
            &[("origin", "https://keys.example")],
        ] {
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                assert!(!admits(&request(method, fields)), "{method} {fields:?}");
            }
            assert!(admits(&request("GET", fields)));
        }
    }
}

use percent_encoding::percent_decode_str;
use url::Url;

/// The namespaces that four kinds of backend read in one request target. `None` if a backend reads
/// no path of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Splits the path as it was sent, and decodes nothing.
    pub raw: Option<String>,
    /// Parses the target as browsers and Node.js do, then decodes the segment.
    pub whatwg: Option<String>,
    /// Decodes the whole path first, ignores case and `;parameters`, merges slashes and resolves dots,
    /// as lenient routers and file servers do.
    pub decoding: Option<String>,
    /// Decodes the whole path first, and matches it as it is, as Starlette does.
    pub starlette: Option<String>,
}

impl Readings {
    /// All of them, with the kind of backend.
    pub fn all(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("raw", self.raw.as_deref()),
            ("whatwg", self.whatwg.as_deref()),
            ("decoding", self.decoding.as_deref()),
            ("starlette", self.starlette.as_deref()),
        ]
    }
}

/// Reads a target of a request line in four ways.
pub fn readings(target: &str) -> Readings {
    Readings {
        raw: raw(target),
        whatwg: whatwg(target),
        decoding: decoding(target),
        starlette: starlette(target),
    }
}

const PLACE: [&str; 3] = ["api", "v1", "namespaces"];

fn raw(target: &str) -> Option<String> {
    let mut segments = path(target).strip_prefix('/')?.split('/');
    PLACE
        .iter()
        .all(|place| segments.next() == Some(place))
        .then(|| segments.next().map(str::to_owned))
        .flatten()
}

fn whatwg(target: &str) -> Option<String> {
    let base = Url::parse("http://backend.test/").ok()?;
    let url = base.join(target).ok()?;
    let mut segments = url.path_segments()?;
    PLACE
        .iter()
        .all(|place| segments.next() == Some(place))
        .then(|| segments.next().map(decode))
        .flatten()
}

fn decoding(target: &str) -> Option<String> {
    let path = decode(path(target)).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut segments = segments.into_iter();
    PLACE
        .iter()
        .all(|place| {
            segments
                .next()
                .is_some_and(|one| one.eq_ignore_ascii_case(place))
        })
        .then(|| segments.next().map(str::to_owned))
        .flatten()
}

fn starlette(target: &str) -> Option<String> {
    let path = decode(path(target));
    let rest = path.strip_prefix("/api/v1/namespaces/")?;
    rest.split('/').next().map(str::to_owned)
}

/// The path of a target in origin form or absolute form.
fn path(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => path,
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_backends_differ_where_real_ones_do() {
        let all = |target| {
            readings(target)
                .all()
                .map(|(_, namespace)| namespace.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        let plain = all("/api/v1/namespaces/orders/actions/x?y=/z");
        assert_eq!(
            plain,
            [
                some("orders"),
                some("orders"),
                some("orders"),
                some("orders")
            ]
        );
        let dots = all("/api/v1/namespaces/other/../orders/x");
        assert_eq!(
            dots,
            [some("other"), some("orders"), some("orders"), some("other")]
        );
        let encoded = all("/api/v1/namespaces/orders%2F..%2Fother/x");
        let whole = some("orders%2F..%2Fother");
        assert_eq!(
            encoded,
            [
                whole,
                some("orders/../other"),
                some("other"),
                some("orders")
            ]
        );
        let parameter = all("/api/v1/namespaces/orders;x/y");
        assert_eq!(parameter[0], some("orders;x"));
        assert_eq!(parameter[2], some("orders"));
        assert_eq!(all("/API/v1/namespaces/orders")[2], some("orders"));
        assert_eq!(all("http://h/api/v1/namespaces/orders")[0], some("orders"));
        assert_eq!(all("/metrics"), [None, None, None, None]);
    }
}

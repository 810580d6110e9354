//! Names in NATS: of subjects, and of the stream that keeps the last lines.

use std::{fmt, str::FromStr};

use keyfob_feed::Filter;

/// What the subjects of the lines begin with. The default is `keyfob.feed`.
///
/// The lines of everything are published on `keyfob.feed.all`, those of a part on `keyfob.feed.` and the
/// digest of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPrefix(String);

impl SubjectPrefix {
    /// The subject of the lines with this filter.
    pub fn subject(&self, filter: &Filter) -> String {
        match filter.id() {
            None => format!("{self}.all"),
            Some(id) => format!("{self}.{id}"),
        }
    }
}

impl Default for SubjectPrefix {
    fn default() -> Self {
        Self("keyfob.feed".into())
    }
}

impl FromStr for SubjectPrefix {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if text.len() <= LENGTH_MAX && text.split('.').all(is_token) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubjectError(
                "letters, digits, - and _, in parts with dots between them",
            ))
        }
    }
}

impl fmt::Display for SubjectPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of the stream of `JetStream` that keeps the last line of each subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName(String);

impl StreamName {
    /// The subject of requests for the last message of a subject.
    pub(crate) fn last_of(&self, subject: &str) -> String {
        format!("$JS.API.DIRECT.GET.{self}.{subject}")
    }
}

impl Default for StreamName {
    fn default() -> Self {
        Self("keyfob_feed".into())
    }
}

impl FromStr for StreamName {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if text.len() <= LENGTH_MAX && is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubjectError("letters, digits, - and _"))
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(allowed)
}

/// A text is no name in NATS. It says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct SubjectError(&'static str);

const LENGTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use keyfob_feed::Filter;

    use super::*;

    #[test]
    fn a_filter_has_a_subject_of_its_own() {
        let prefix = SubjectPrefix::default();
        assert_eq!(prefix.subject(&Filter::All), "keyfob.feed.all");
        let team = |name: &str| Filter::Team(name.parse().unwrap());
        let acme = prefix.subject(&team("acme"));
        assert_ne!(acme, prefix.subject(&team("umbrella")));
        // It is a subject itself, without wildcards.
        assert!(acme.parse::<SubjectPrefix>().is_ok(), "{acme}");
    }

    #[test]
    fn wildcards_spaces_and_empty_parts_are_refused() {
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a.*",
            "a.>",
            "a b",
            "a\r\nPUB b",
            "ä",
            "$JS",
        ] {
            assert!(text.parse::<SubjectPrefix>().is_err(), "{text}");
        }
        for text in ["", "a.b", "a*", "a b", "$a"] {
            assert!(text.parse::<StreamName>().is_err(), "{text}");
        }
        assert!("zone-1.keyfob_feed".parse::<SubjectPrefix>().is_ok());
    }
}

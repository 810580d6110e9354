//! Validated text types: identifiers, names and labels.
//!
//! No text may contain a whole credential, since all of them are kept in the audit trail.

mod hidden;
mod screen;

use alloc::sync::Arc;
use core::fmt;

pub use hidden::hidden_characters;

/// Defines a text type whose only constructor validates.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Validates a text by the rules stated on the type.
            ///
            /// # Errors
            ///
            /// [`NameError`] names the field, the rule and the position, never the text.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let rule: Rule = $rule;
                match rule.check(text) {
                    Ok(()) => Ok(Self(Arc::from(text))),
                    Err(fault) => Err(NameError { field: $field, fault }),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }

        impl core::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::parsed::parsed(deserializer, Self::new)
            }
        }
    };
}

text! {
    /// A team, which owns namespaces and has members.
    ///
    /// 1 to 128 printable ASCII characters, no space at either end.
    TeamId, "team", Rule::identifier()
}

text! {
    /// A namespace, which keys give access to.
    ///
    /// 1 to 128 printable ASCII characters without `/`, no space at either end. The text `_` is
    /// refused: in requests it means the namespace of the credential.
    NamespaceId, "namespace", Rule::namespace()
}

text! {
    /// A person, identified as in the embedder's directory.
    ///
    /// 1 to 128 printable ASCII characters, no space at either end.
    UserId, "user", Rule::identifier()
}

text! {
    /// A service that owns keys, which therefore do not depend on a person.
    ///
    /// 1 to 128 printable ASCII characters, no space at either end.
    ServiceId, "service", Rule::identifier()
}

text! {
    /// The name of a key.
    ///
    /// 1 to 100 characters of Unicode, no white space at either end, no [hidden
    /// characters](hidden_characters).
    KeyName, "name", Rule::free_text(100)
}

text! {
    /// What people call a namespace.
    ///
    /// 1 to 100 characters of Unicode under the rules of [`KeyName`].
    NamespaceLabel, "label", Rule::free_text(100)
}

text! {
    /// Where a namespace runs, such as `blr1`.
    ///
    /// 1 to 63 characters of `A-Z a-z 0-9 . _ - /`.
    Region, "region", Rule::label_name()
}

text! {
    /// The name of a label, such as `environment`.
    ///
    /// 1 to 63 characters of `A-Z a-z 0-9 . _ - /`.
    LabelName, "label name", Rule::label_name()
}

text! {
    /// The value of a label, such as `production`.
    ///
    /// 1 to 255 characters of Unicode under the rules of [`KeyName`].
    LabelValue, "label value", Rule::free_text(255)
}

text! {
    /// A permission that a key can hold, such as `function:invoke`.
    ///
    /// 1 to 64 characters of a scope-token (RFC 6749, section 3.3): printable ASCII without
    /// space, `"` and `\`.
    Scope, "scope", Rule::scope()
}

text! {
    /// The reason for a change, as stated by the actor.
    ///
    /// 1 to 500 characters of Unicode under the rules of [`KeyName`].
    Reason, "reason", Rule::free_text(500)
}

text! {
    /// The identifier of the request that caused a change.
    ///
    /// 1 to 128 printable ASCII characters, no space at either end.
    RequestId, "request id", Rule::identifier()
}

/// A text breaks a rule of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct NameError {
    field: &'static str,
    fault: NameFault,
}

/// Lets functions that take a text take a validated name too.
impl From<core::convert::Infallible> for NameError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

impl NameError {
    /// The field that the text was meant for.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The broken rule.
    pub fn fault(&self) -> NameFault {
        self.fault
    }
}

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has too many characters.
    #[error("is longer than {max} characters")]
    TooLong {
        /// The maximum number of characters.
        max: usize,
    },
    /// A character is not allowed at its position.
    #[error("has a character that is not allowed, at position {at}")]
    Character {
        /// The character's position, counted in characters from zero.
        at: usize,
    },
    /// The text is reserved.
    #[error("is a reserved word")]
    Reserved,
    /// The text contains a whole credential, as it is, percent-encoded or in base64.
    #[error("contains a credential, which would be kept: leave it out and revoke it")]
    Credential,
}

/// The rules for a text.
struct Rule {
    max: usize,
    allowed: fn(char) -> bool,
    /// Whether the text is free, but without hidden characters.
    free: bool,
    /// Whether the first and last character must not be white space.
    trimmed: bool,
    reserved: &'static [&'static str],
}

impl Rule {
    const fn identifier() -> Self {
        Self {
            max: 128,
            allowed: |c| matches!(c, ' '..='~'),
            free: false,
            trimmed: true,
            reserved: &[],
        }
    }

    const fn namespace() -> Self {
        Self {
            max: 128,
            allowed: |c| matches!(c, ' '..='~') && c != '/',
            free: false,
            trimmed: true,
            reserved: &["_"],
        }
    }

    const fn free_text(max: usize) -> Self {
        Self {
            max,
            allowed: |_| true,
            free: true,
            trimmed: true,
            reserved: &[],
        }
    }

    const fn label_name() -> Self {
        Self {
            max: 63,
            allowed: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'),
            free: false,
            trimmed: false,
            reserved: &[],
        }
    }

    const fn scope() -> Self {
        Self {
            max: 64,
            allowed: |c| matches!(c, '!' | '#'..='[' | ']'..='~'),
            free: false,
            trimmed: false,
            reserved: &[],
        }
    }

    fn check(&self, text: &str) -> Result<(), NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        let mut last = 0;
        let mut hidden = hidden_characters(text).map(|(at, _)| at);
        let first_hidden = if self.free { hidden.next() } else { None };
        for (at, (place, c)) in text.char_indices().enumerate() {
            if at >= self.max {
                return Err(NameFault::TooLong { max: self.max });
            }
            let edge = at == 0 && self.trimmed;
            let is_hidden = first_hidden == Some(place);
            if is_hidden || !(self.allowed)(c) || (edge && c.is_whitespace()) {
                return Err(NameFault::Character { at });
            }
            last = at;
        }
        if self.trimmed && text.ends_with(char::is_whitespace) {
            return Err(NameFault::Character { at: last });
        }
        if self.reserved.contains(&text) {
            return Err(NameFault::Reserved);
        }
        if screen::holds_credential(text) {
            return Err(NameFault::Credential);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_error_has_field_and_position_but_not_the_content() {
        let error = UserId::new("alice\nroot").unwrap_err();
        assert_eq!(error.field(), "user");
        assert_eq!(error.fault(), NameFault::Character { at: 5 });
        assert_eq!(
            error.to_string(),
            "user has a character that is not allowed, at position 5"
        );
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(KeyName::new(&"é".repeat(100)).is_ok());
        assert_eq!(
            KeyName::new(&"é".repeat(101)).unwrap_err().fault(),
            NameFault::TooLong { max: 100 }
        );
        assert_eq!(KeyName::new("").unwrap_err().fault(), NameFault::Empty);
    }

    #[test]
    fn leading_and_trailing_white_space_is_refused() {
        assert_eq!(
            TeamId::new(" a").unwrap_err().fault(),
            NameFault::Character { at: 0 }
        );
        assert_eq!(
            TeamId::new("a ").unwrap_err().fault(),
            NameFault::Character { at: 1 }
        );
        assert!(TeamId::new("a b").is_ok());
    }

    #[test]
    fn the_reserved_word_for_the_own_namespace_is_refused() {
        assert_eq!(
            NamespaceId::new("_").unwrap_err().fault(),
            NameFault::Reserved
        );
        assert!(NamespaceId::new("_a").is_ok());
        assert_eq!(
            NamespaceId::new("a/b").unwrap_err().fault(),
            NameFault::Character { at: 1 }
        );
    }

    #[test]
    fn names_cannot_contain_bidirectional_controls_or_line_breaks() {
        for hostile in ["a\u{202E}b", "a\u{2028}b", "a\rb", "a\0b", "\u{FEFF}ab"] {
            assert!(KeyName::new(hostile).is_err());
        }
    }

    #[test]
    fn names_of_every_script_and_emoji_are_accepted() {
        for name in [
            "👩\u{200d}💻",
            "Zoë’s ноутбук",
            "می\u{200c}خواهم",
            "笔记本电脑",
            "🏳\u{fe0f}\u{200d}🌈 2",
        ] {
            assert!(KeyName::new(name).is_ok(), "{name}");
            assert!(Reason::new(name).is_ok() && LabelValue::new(name).is_ok());
        }
        let hidden = KeyName::new("é\u{200d}b").unwrap_err();
        assert_eq!(hidden.fault(), NameFault::Character { at: 1 });
        assert!(UserId::new("👩\u{200d}💻").is_err());
    }

    #[test]
    fn no_text_of_any_type_may_hold_a_credential() {
        let secret = alloc::format!("dof_sk_{}", "Example-_".repeat(4));
        let faults = [
            TeamId::new(&secret).unwrap_err(),
            NamespaceId::new(&secret).unwrap_err(),
            UserId::new(&secret).unwrap_err(),
            ServiceId::new(&secret).unwrap_err(),
            KeyName::new(&secret).unwrap_err(),
            LabelName::new(&secret).unwrap_err(),
            LabelValue::new(&secret).unwrap_err(),
            Scope::new(&secret).unwrap_err(),
            Reason::new(&alloc::format!("leaked: {secret}")).unwrap_err(),
            RequestId::new(&secret).unwrap_err(),
        ];
        for error in faults {
            assert_eq!(error.fault(), NameFault::Credential);
            let text = error.to_string();
            assert!(
                text.starts_with(error.field()) && !text.contains("_sk_"),
                "{text}"
            );
        }
    }

    #[test]
    fn scopes_are_valid_oauth_scope_tokens() {
        assert!(Scope::new("function:admin").is_ok());
        for bad in ["a b", "a\"b", "a\\b", "é", ""] {
            assert!(Scope::new(bad).is_err());
        }
    }
}

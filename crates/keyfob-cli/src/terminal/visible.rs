//! Escaping of text for a terminal.

use std::borrow::Cow;

use keyfob::name::hidden_characters;

/// Escapes every character that controls a terminal, breaks a line, is invisible or changes the
/// direction of text: file names may contain any.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let mut hidden = hidden_characters(text).peekable();
    if hidden.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if hidden.next_if_eq(&(at, character)).is_some() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_all_else_stays() {
        assert_eq!(visible("tree/é ☂.txt"), "tree/é ☂.txt");
        assert_eq!(visible("👩\u{200d}💻"), "👩\u{200d}💻");
        assert_eq!(visible("a\u{200d}b\u{206a}"), "a\\u{200d}b\\u{206a}");
        assert_eq!(
            visible("\u{1b}[2J\r\n\u{9b}1m\u{202e}txt"),
            "\\u{1b}[2J\\r\\n\\u{9b}1m\\u{202e}txt"
        );
    }
}

//! Escaping of text for a terminal.

use std::borrow::Cow;

/// Escapes every character that controls a terminal, breaks a line, is invisible or changes the
/// direction of text: file names may contain any.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_all_else_stays() {
        assert_eq!(visible("tree/é ☂.txt"), "tree/é ☂.txt");
        assert_eq!(
            visible("\u{1b}[2J\r\n\u{9b}1m\u{202e}txt"),
            "\\u{1b}[2J\\r\\n\\u{9b}1m\\u{202e}txt"
        );
    }
}

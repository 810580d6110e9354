//! Characters that cannot be seen in a text, or that change how the rest of it is shown.

/// Iterates over the hidden characters of a text, with their byte positions: control characters,
/// line separators, characters that change the text direction, and invisible characters.
///
/// An invisible character counts as visible where a script or an emoji needs it: a joiner between
/// two emoji, the variation selector after one, a joiner after an Indic virama, a non-joiner between
/// two Arabic letters (as in Unicode UAX #31, section 2.3). The tag characters of some flags are
/// hidden everywhere, since they can carry any text.
///
/// # Examples
///
/// ```
/// use keyfob::name::hidden_characters;
///
/// assert_eq!(hidden_characters("👩\u{200d}💻 laptop").next(), None);
/// assert_eq!(hidden_characters("lap\u{200d}top").next(), Some((3, '\u{200d}')));
/// ```
pub fn hidden_characters(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut before = Before::default();
    text.char_indices().filter(move |(at, c)| {
        let rest = text.get(at.saturating_add(c.len_utf8())..);
        let next = rest.and_then(|rest| rest.chars().next());
        let hidden = is_hidden(*c) && !before.needs(*c, next);
        before.pass(*c);
        hidden
    })
}

/// What stands before a character.
#[derive(Default)]
struct Before {
    /// The last character.
    last: Option<char>,
    /// The last one that is neither a variation selector nor the tone of an emoji.
    base: Option<char>,
}

impl Before {
    fn pass(&mut self, c: char) {
        self.last = Some(c);
        if !is_variation(c) && !matches!(c, '\u{1F3FB}'..='\u{1F3FF}') {
            self.base = Some(c);
        }
    }

    /// Whether an invisible character is needed here.
    fn needs(&self, c: char, next: Option<char>) -> bool {
        let (Some(last), Some(base)) = (self.last, self.base) else {
            return false;
        };
        match c {
            ZERO_WIDTH_JOINER => is_virama(last) || is_emoji(base) && next.is_some_and(is_emoji),
            ZERO_WIDTH_NON_JOINER => {
                is_virama(last) || is_arabic(last) && next.is_some_and(is_arabic)
            }
            _ if is_variation(c) => {
                let keycap = matches!(last, '0'..='9' | '#' | '*') && next == Some('\u{20E3}');
                is_emoji(last) || keycap
            }
            _ => false,
        }
    }
}

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// The selectors of text and emoji presentation.
fn is_variation(c: char) -> bool {
    matches!(c, '\u{FE0E}' | '\u{FE0F}')
}

/// Control characters, line and paragraph separators, interlinear annotations, and the characters
/// with the property `Default_Ignorable_Code_Point` of Unicode, among them all bidirectional
/// controls.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00AD}'
                | '\u{034F}'
                | '\u{061C}'
                | '\u{115F}'..='\u{1160}'
                | '\u{17B4}'..='\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{3164}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}'
                | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}'
                | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// Whether the character is in a block of emoji and symbols.
fn is_emoji(c: char) -> bool {
    matches!(
        c,
        '\u{00A9}'
            | '\u{00AE}'
            | '\u{203C}'
            | '\u{2049}'
            | '\u{2122}'
            | '\u{2139}'
            | '\u{2190}'..='\u{21FF}'
            | '\u{2300}'..='\u{23FF}'
            | '\u{24C2}'
            | '\u{25A0}'..='\u{27BF}'
            | '\u{2900}'..='\u{297F}'
            | '\u{2B00}'..='\u{2BFF}'
            | '\u{3030}'
            | '\u{303D}'
            | '\u{3297}'
            | '\u{3299}'
            | '\u{1F000}'..='\u{1FAFF}'
    )
}

fn is_arabic(c: char) -> bool {
    c.is_alphabetic() && matches!(c, '\u{0600}'..='\u{077F}' | '\u{08A0}'..='\u{08FF}')
}

/// Whether the character is the virama of an Indic script.
fn is_virama(c: char) -> bool {
    matches!(
        c,
        '\u{094D}'
            | '\u{09CD}'
            | '\u{0A4D}'
            | '\u{0ACD}'
            | '\u{0B4D}'
            | '\u{0BCD}'
            | '\u{0C4D}'
            | '\u{0CCD}'
            | '\u{0D4D}'
            | '\u{0DCA}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiners_are_visible_where_a_script_or_an_emoji_needs_them() {
        for text in [
            "👩\u{200D}💻",
            "👩🏽\u{200D}💻",
            "👩\u{200D}❤\u{FE0F}\u{200D}👨",
            "🏳\u{FE0F}\u{200D}🌈",
            "🏃\u{200D}♀\u{FE0F}\u{200D}➡\u{FE0F}",
            "1\u{FE0F}\u{20E3}",
            "✂\u{FE0E}",
            "می\u{200C}خواهم",
            "ന\u{0D4D}\u{200D}",
            "क\u{094D}\u{200C}ष",
        ] {
            assert_eq!(hidden_characters(text).next(), None, "{text:?}");
        }
    }

    #[test]
    fn invisible_characters_are_hidden_everywhere_else() {
        for (text, at) in [
            ("\u{200D}💻", 0),
            ("👩\u{200D}", 4),
            ("👩\u{200D}x", 4),
            ("👩\u{200D}\u{200D}💻", 4),
            ("a\u{200D}b", 1),
            ("a\u{200C}b", 1),
            ("می\u{200C}b", 4),
            ("a\u{FE0F}", 1),
            ("1\u{FE0F}", 1),
            ("👩\u{200B}💻", 4),
            ("a\u{202E}b", 1),
            ("a\u{2028}b", 1),
            ("a\u{AD}b", 1),
            ("a\u{2069}b", 1),
            ("a\u{206A}b", 1),
            ("a\u{3164}b", 1),
            ("🏴\u{E0067}", 4),
            ("a\u{1B}b", 1),
            ("a\nb", 1),
        ] {
            let first = hidden_characters(text).next().map(|(at, _)| at);
            assert_eq!(first, Some(at), "{text:?}");
        }
    }
}

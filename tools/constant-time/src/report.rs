//! What memcheck reported, and whether it may be.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use roxmltree::{Document, Node};

/// One report: a jump or an address that depends on what was marked.
#[derive(Debug)]
pub struct Report {
    /// What it says, in words.
    pub what: String,
    /// The calls that were going on, the innermost first, inlined ones included.
    stack: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    function: String,
    file: PathBuf,
    line: usize,
}

/// A place in the sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from one.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl Report {
    /// Reads what valgrind wrote with `--xml=yes`.
    pub fn all_of(xml: &str) -> Result<Vec<Self>, roxmltree::Error> {
        let document = Document::parse(xml)?;
        let errors = document.root_element().children();
        Ok(errors
            .filter(|node| node.has_tag_name("error"))
            .map(|error| Self {
                what: text(error, "what"),
                stack: child(error, "stack")
                    .into_iter()
                    .flat_map(|stack| stack.children())
                    .filter(|node| node.has_tag_name("frame"))
                    .map(Frame::read)
                    .collect(),
            })
            .collect())
    }

    /// The innermost place in a file under one of `roots`: what runs in other packages is put
    /// down to the line that called it.
    pub fn place(&self, roots: &[&Path]) -> Option<Place> {
        self.stack.iter().find_map(|frame| {
            let file = frame.file.canonicalize().ok()?;
            let is_ours = roots.iter().any(|root| file.starts_with(root));
            is_ours.then_some(Place {
                file,
                line: frame.line,
            })
        })
    }

    /// Whether a call of a function of this name was going on.
    pub fn is_within(&self, function: &str) -> bool {
        let is_named = |frame: &Frame| frame.function.split("::").any(|part| part == function);
        self.stack.iter().any(is_named)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for frame in self.stack.iter().take(FRAMES_SHOWN) {
            let Frame {
                function,
                file,
                line,
            } = frame;
            write!(f, "\n    {}:{line}: {function}", file.display())?;
        }
        Ok(())
    }
}

impl Frame {
    fn read(frame: Node<'_, '_>) -> Self {
        Self {
            function: text(frame, "fn"),
            file: Path::new(&text(frame, "dir")).join(text(frame, "file")),
            line: text(frame, "line").parse().unwrap_or(0),
        }
    }
}

/// Whether the source says that a jump at this place may depend on the verdict: it is the head of
/// a statement that stands under a comment which ends in [`MARKER`].
pub fn is_marked_public(place: &Place) -> bool {
    let source = fs::read_to_string(&place.file).unwrap_or_default();
    public_lines(&source).contains(&place.line)
}

/// What a comment ends in, above a statement that branches on the verdict.
pub const MARKER: &str = "the verdict, public from here on.";

/// The lines, counted from one, that markers speak of: the head of the statement or arm below
/// each, up to its brace or end, and the heads of its `else`; not what stands in its blocks.
fn public_lines(source: &str) -> BTreeSet<usize> {
    let lines: Vec<&str> = source.lines().collect();
    let mut public = BTreeSet::new();
    for (at, marker) in lines.iter().enumerate() {
        if !(is_comment(marker) && marker.to_lowercase().ends_with(MARKER)) {
            continue;
        }
        let (mut in_head, mut opened_at) = (true, None);
        for (number, line) in (1..).zip(&lines).skip(at + 1) {
            let is_else = line.trim_start().starts_with("} else");
            in_head |= is_else && opened_at == Some(indent(line));
            if in_head {
                public.insert(number);
                if line.ends_with('{') {
                    (in_head, opened_at) = (false, Some(indent(line)));
                } else if line.ends_with([';', ',']) {
                    break;
                }
            } else if indent(line) <= indent(marker) && !line.is_empty() {
                break;
            }
        }
    }
    public
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text(node: Node<'_, '_>, name: &str) -> String {
    let text = child(node, name).and_then(|child| child.text());
    text.unwrap_or_default().to_owned()
}

const FRAMES_SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_put_down_to_our_innermost_line() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = root.join("src/report.rs").canonicalize().unwrap();
        let xml = format!(
            "<valgrindoutput><error><what>Conditional jump</what><stack>\
             <frame><fn>theirs::decode</fn><dir>/elsewhere</dir><file>a.rs</file><line>1</line></frame>\
             <frame><fn>inner</fn><dir>{0}</dir><file>src/report.rs</file><line>2</line></frame>\
             <frame><fn>outer</fn><dir>{0}/src</dir><file>report.rs</file><line>3</line></frame>\
             </stack></error></valgrindoutput>",
            root.display()
        );
        let reports = Report::all_of(&xml).unwrap();
        assert_eq!(reports.len(), 1);
        let place = reports[0].place(&[root]).unwrap();
        assert_eq!((place.file, place.line), (ours, 2));
        assert!(reports[0].place(&[Path::new("/nowhere")]).is_none());
        assert!(reports[0].is_within("decode") && reports[0].is_within("outer"));
        assert!(!reports[0].is_within("cod"));
    }

    #[test]
    fn a_marker_covers_the_heads_of_one_statement() {
        let source = "\
let equal = same(a, b);
// The verdict, public from here on.
let end = if equal
    && known
{
    first();
} else if other {
    second();
} else {
    return third();
};
if equal {
    nothing();
} else {
    nothing();
}
// The verdict, public from here on.
let end =
    if equal {
        if known {
        } else {
        }
    } else if other {
        second()
    };
if equal {
    match end {
        // And here: the verdict, public from here on.
        Some(end) if equal => end,
        _ => none,
    }
}
// Some other comment.
let end = equal;
";
        let public: Vec<usize> = public_lines(source).into_iter().collect();
        assert_eq!(public, [3, 4, 5, 7, 9, 18, 19, 23, 29]);
    }
}

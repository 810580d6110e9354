//! What every page has around its content: navigation, who is signed in, notices.

use crate::{assets, time::Html, visit::Visit, wire::bare};

/// The frame of a page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) nonce: String,
    pub(crate) assets: String,
    pub(crate) section: Section,
    pub(crate) user: Option<User>,
    pub(crate) notices: Vec<Notice>,
    /// Whether a browser shows the page, and not htmx a part of it, which has the scripts already.
    pub(crate) whole: bool,
}

/// Who is signed in, and what the navigation offers.
pub(crate) struct User {
    pub(crate) owner: String,
    pub(crate) team: String,
    pub(crate) can: Can,
    /// When the key of the session expires, if that is soon, and where it can be renewed.
    pub(crate) ends: Option<(Html, String)>,
}

/// What the user may do, by the rights of the credential. It decides what pages offer; the control
/// plane decides what happens.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what a page offers")]
pub(crate) struct Can {
    pub(crate) manage_own: bool,
    pub(crate) create_namespaces: bool,
    pub(crate) delete_namespaces: bool,
    pub(crate) see_team: bool,
    pub(crate) manage_team: bool,
    pub(crate) operate: bool,
}

/// The part of the panel that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    None,
    Keys,
    Create,
    Expiring,
    Team,
    Migration,
    Policies,
    Audit,
    Fleet,
    Leaks,
}

/// A message about what was done, or not.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) good: bool,
    pub(crate) title: String,
    pub(crate) lines: Vec<String>,
    pub(crate) undo: Option<UndoForm>,
}

/// A button that undoes what was done, or that goes to the page which does.
#[derive(Clone, Debug)]
pub(crate) struct UndoForm {
    pub(crate) method: &'static str,
    pub(crate) action: String,
    pub(crate) label: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Notice {
    pub(crate) fn done(title: impl Into<String>) -> Self {
        Self {
            good: true,
            title: title.into(),
            lines: Vec::new(),
            undo: None,
        }
    }

    pub(crate) fn failed(title: impl Into<String>) -> Self {
        Self {
            good: false,
            ..Self::done(title)
        }
    }

    #[must_use]
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    #[must_use]
    pub(crate) fn undo(mut self, label: &str, action: impl Into<String>) -> Self {
        self.undo = Some(UndoForm {
            method: "post",
            action: action.into(),
            label: label.to_owned(),
            fields: Vec::new(),
        });
        self
    }

    /// Offers the page that undoes it.
    #[must_use]
    pub(crate) fn undo_on(self, label: &str, page: impl Into<String>) -> Self {
        let mut notice = self.undo(label, page);
        if let Some(undo) = &mut notice.undo {
            undo.method = "get";
        }
        notice
    }

    /// Sends this with the button.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Some(undo) = &mut self.undo {
            undo.fields.push((name.to_owned(), value.into()));
        }
        self
    }
}

impl Shell {
    /// The frame of a page for nobody.
    pub(crate) fn outside(title: &str, nonce: &str, by_script: bool) -> Self {
        Self {
            title: title.to_owned(),
            nonce: nonce.to_owned(),
            assets: assets::base(),
            section: Section::None,
            user: None,
            notices: Vec::new(),
            whole: !by_script,
        }
    }

    pub(crate) fn of(visit: &Visit, title: &str, section: Section) -> Self {
        Self {
            section,
            user: Some(User {
                owner: visit.owner.clone(),
                team: visit.team.clone(),
                can: visit.can,
                ends: visit.ends_soon(),
            }),
            // A part that is taken out of the page would lose them.
            notices: if visit.by_script {
                Vec::new()
            } else {
                visit.notices()
            },
            ..Self::outside(title, &visit.nonce, visit.by_script)
        }
    }

    /// The attribute of the link to the section of this page.
    pub(crate) fn current(&self, section: &str) -> Html {
        let is = format!("{:?}", self.section).eq_ignore_ascii_case(section);
        Html(if is { " aria-current=\"page\"" } else { "" }.to_owned())
    }

    pub(crate) fn owner_name(&self) -> &str {
        self.user.as_ref().map_or("", |user| bare(&user.owner))
    }

    /// The attribute by which htmx accepts an element of this page.
    pub(crate) fn hx(&self) -> Html {
        Html(format!("hx-nonce=\"{}\"", self.nonce))
    }
}

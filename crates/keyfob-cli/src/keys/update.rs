//! `keyfob keys update`

use clap::{ArgGroup, Args};
use keyfob::{
    Scopes,
    manage::KeyUpdate,
    name::{KeyName, LabelName, LabelValue, Reason, Scope},
    store::Revision,
};

use crate::{
    command_context::CommandContext,
    failure::Failure,
    key_view::{KeyReads, KeyView},
    moment::{self, Moment},
};

use super::create::{labels, parse_label};

/// Change a key's name, labels, scopes or expiry
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("changes").required(true).multiple(true)
    .args(["name", "labels", "no_labels", "scopes", "all_scopes", "expires"]))]
#[group(skip)]
pub(crate) struct Update {
    /// The key id
    key: String,

    /// The new name
    #[arg(long)]
    name: Option<KeyName>,

    /// A label, `name=value`, in place of all the old ones; can be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<(LabelName, LabelValue)>,

    /// Remove all labels
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,

    /// Scopes in place of all the old ones, separated by commas; can be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<Scope>,

    /// Allow all scopes
    #[arg(long, conflicts_with = "scopes")]
    all_scopes: bool,

    /// An earlier expiry; a later one needs a rotation
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    expires: Option<Moment>,

    /// Only if the key is still at this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,

    /// The reason, for the audit trail
    #[arg(long)]
    reason: Option<Reason>,
}

impl Update {
    pub(super) async fn run(self, cx: &CommandContext) -> Result<(), Failure> {
        let id = cx.key_id(&self.key)?;
        let change_labels = self.no_labels || !self.labels.is_empty();
        let mut update = KeyUpdate::new();
        update.name = self.name;
        update.labels = change_labels.then(|| labels(self.labels)).transpose()?;
        update.scopes = match (self.all_scopes, self.scopes.is_empty()) {
            (true, _) => Some(Scopes::All),
            (false, true) => None,
            (false, false) => Some(Scopes::only(self.scopes)?),
        };
        update.expires_at = self.expires.map(|end| end.ahead(cx.now));
        let expected = self.if_revision.map(Revision::new);
        let context = cx.context(self.reason.as_ref());
        let tenant = cx.tenant()?;
        let reads = KeyReads::read(cx, [&tenant], [id]).await?;
        let key = cx
            .keyring
            .update(&context, &tenant, id, update, expected)
            .await?;
        cx.terminal.answer(&reads.view(cx, &key), KeyView::details)
    }
}

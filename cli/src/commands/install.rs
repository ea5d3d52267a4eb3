//! `pegboard install`: a package from anywhere into the store, judged, verified, and accepted by the operator.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use manifest_schema::{Channel, PluginName};
use registry::{Approved, Entry, FileDigest, Lockfile, Proposal, Release, Vouched, dependencies::Offer};
use serde_json::{Value, json};

use super::{asking, packages};
use crate::{
    bundled,
    exit::Exit,
    failure::{Failure, Outcome},
    installs::{
        self, Done,
        accept::{self, Answer},
        fetch::{self, Choice, Fetched},
        kept::{self, Hand},
        needs,
        request::Request,
    },
    operator::trust,
    output::{Output, Tone},
    settings::Settings,
};

/// Install plugins
///
/// From a folder, a package, an address, a repository at a tag or commit, or by name from an index. The package is listed and judged before a
/// byte of it is written, held against its inventory, and against your trusted keys. You are shown what it may do, and how that differs from
/// what is installed. A running server follows within a second.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  pegboard install ./text-analysis.zip\n  pegboard install ./my-plugin\n  \
                             pegboard install https://example.org/text-analysis-1.2.0.zip\n  \
                             pegboard install git+https://example.org/text-analysis.git@v1.2.0\n  \
                             pegboard install text_analysis@^1.2 --index https://example.org/shelf --channel beta\n  \
                             pegboard install ./weather.zip --yes --allow network_access\n\n\
                             Exit codes:\n  3 no package · 4 not accepted · 5 not found · 6 not in reach · 7 not signed · 8 signed by a key that is not trusted\n  \
                             9 changed after it was made or signed · 10 the signature has expired")]
pub(crate) struct Install {
    /// What to install: a path with a `/`, an address, or a name; repeatable
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    terms: Terms,
    /// Install nothing but the package of this digest, and accept all that it declares
    #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
    digest: Option<FileDigest>,
}

/// What decides whether and which release is taken; the same for `install`, `update` and `sync`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Terms {
    /// Where names are looked up: a folder or an http(s) address; default: `index` in pegboard.toml
    #[arg(long, value_name = "INDEX")]
    pub(crate) index: Option<String>,
    /// The most daring channel to take releases from; kept for later updates
    #[arg(long, value_enum)]
    pub(crate) channel: Option<ChannelWord>,
    /// Ask nothing: accept what --allow names and what was accepted before, and refuse the rest
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Accept this; repeatable
    ///
    /// A power such as `network_access` (its hosts included), `secrets`, `tools` (new and changed definitions), `runtime`, `needs` (plugins that it
    /// did not need before), `source`, `signer`, `downgrade`, `yanked`; or one difference alone, such as `host:api.example.org:443` or `tool:search`.
    #[arg(long, value_name = "WHAT")]
    pub(crate) allow: Vec<String>,
}

/// A channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChannelWord {
    /// For everyone
    Stable,
    /// For the curious
    Beta,
    /// For the author
    Dev,
}

impl From<ChannelWord> for Channel {
    fn from(word: ChannelWord) -> Self {
        match word {
            ChannelWord::Stable => Self::Stable,
            ChannelWord::Beta => Self::Beta,
            ChannelWord::Dev => Self::Dev,
        }
    }
}

impl Terms {
    pub(crate) fn answer(&self) -> Answer {
        Answer { yes: self.yes, named: self.allow.iter().cloned().collect() }
    }

    pub(crate) fn choice(&self, channel: Channel) -> Choice {
        let channel = self.channel.map_or(channel, Channel::from);
        Choice { index: self.index.clone(), channel, yanked: self.allow.iter().any(|word| word == "yanked") }
    }
}

/// A digest with its prefix.
pub(crate) fn digest(text: &str) -> Result<FileDigest, String> {
    let digits = text.strip_prefix("sha256:").ok_or("expected `sha256:` and 64 hex digits")?;
    FileDigest::try_from(digits.to_owned()).map_err(str::to_owned)
}

impl Install {
    pub(crate) fn run(&self, settings: &Settings, output: &Output) -> Outcome {
        let mut done = Vec::new();
        for word in &self.what {
            let request = Request::parse(word)?;
            let channel = self.terms.channel.map(Channel::from);
            let all = fetch::fetch_all(settings, &request, &self.terms.choice(Channel::Stable))?;
            let mut asked: Vec<Asked> = all.into_iter().map(|fetched| Asked { fetched, answer: self.terms.answer() }).collect();
            // The last is what was asked for, those before it are what it needs.
            if let (Some(digest), Some(last)) = (self.digest, asked.last_mut()) {
                expect(&last.fetched, digest)?;
                // Named by its digest, all of it is named.
                last.answer.yes = true;
                last.answer.named.extend(everything());
            }
            done.extend(apply(settings, output, asked, "install", channel)?);
        }
        output.show(&json!({"installed": done.iter().map(|done| &done.document).collect::<Vec<_>>()}), |output| {
            done.iter().map(|done| done.text(output)).collect::<Vec<_>>().join("\n")
        })
    }
}

fn expect(fetched: &Fetched, digest: FileDigest) -> Outcome {
    let found = fetched.bundle.digest();
    if found == digest {
        return Ok(());
    }
    Err(Failure::new(Exit::Tampered, "package.other", format!("expected the package sha256:{digest}, found sha256:{found}"))
        .hint("nothing was installed"))
}

/// Every word that covers a kind of difference.
fn everything() -> BTreeSet<String> {
    let powers = manifest_schema::Permission::ALL.into_iter().map(|power| power.as_str().to_owned());
    let kinds = ["secrets", "tools", "runtime", "needs", "source", "signer", "downgrade"].map(str::to_owned);
    powers.chain(kinds).collect()
}

/// What was done with one package.
pub(crate) struct Applied {
    pub(crate) document: Value,
    head: String,
    notes: Vec<String>,
}

impl Applied {
    pub(crate) fn text(&self, output: &Output) -> String {
        let notes: String = self.notes.iter().map(|note| format!("\n{}", crate::clean::line(note))).collect();
        output.paint(Tone::Good, &self.head) + &notes
    }
}

/// A package and what is accepted of it.
pub(crate) struct Asked {
    pub(crate) fetched: Fetched,
    pub(crate) answer: Answer,
}

/// A package that was accepted, with what is said of it afterwards.
struct Accepted {
    approved: Approved,
    installed: Option<Entry>,
    differences: Vec<Value>,
    notes: Vec<String>,
}

/// Takes fetched packages the rest of the way, each after those that it needs: all of them, or none.
pub(crate) fn apply(
    settings: &Settings,
    output: &Output,
    asked: Vec<Asked>,
    what: &str,
    channel: Option<Channel>,
) -> Outcome<Vec<Applied>> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    // Who is asked reads for a while: meanwhile others may go on. Who is not asked decides under the lock.
    let silent = !asking::somebody() || asked.iter().all(|asked| asked.answer.yes);
    let early = if silent { Some(installs::write(&settings.places)?) } else { None };
    let before = match &early {
        Some(writer) => writer.lockfile().clone(),
        None => installs::lockfile(&settings.places)?,
    };
    let mut lockfile = before.clone();
    let mut there = needs::installed(&installs::store(&settings.places), &before);
    let mut all = Vec::new();
    for asked in asked {
        let accepted = accepted(settings, output, asked, &lockfile, &there)?;
        lockfile = accepted.approved.enter(&lockfile, channel);
        let manifest = accepted.approved.bundle().manifest();
        there.retain(|offer| offer.name != manifest.name);
        there.push(Offer::of(manifest));
        all.push(accepted);
    }
    let writer = match early {
        Some(writer) => writer,
        None => unchanged(installs::write(&settings.places)?, &before)?,
    };
    let leaving: Vec<_> = all.iter().map(Accepted::leaving).collect();
    let changes = kept::change_all(&settings.places, &leaving)?;
    let lines: Vec<String> = all.iter().map(|accepted| accepted.line(what)).collect::<Outcome<_>>()?;
    let (approved, said): (Vec<Approved>, Vec<_>) = all.into_iter().map(Accepted::parts).unzip();
    writer.install(&approved, &lockfile, &lines.join("\n"), changes.files).map_err(|error| installs::failure(&error))?;
    Ok(approved.iter().zip(said).map(|(approved, said)| said.applied(approved)).collect())
}

fn accepted(settings: &Settings, output: &Output, asked: Asked, lockfile: &Lockfile, there: &[Offer]) -> Outcome<Accepted> {
    let Asked { fetched: Fetched { bundle, source, remarks }, answer } = asked;
    let trusted = trust::read(&settings.places)?;
    let vouched = Vouched::of(bundle, &trusted, trust::today(), settings.file.require_signature)
        .map_err(|error| packages::failure(&error.into()))?;
    let manifest = vouched.bundle().manifest();
    let bundled = bundled::names();
    let others = lockfile.entries().map(|entry| entry.name.as_str()).chain(bundled.iter().map(String::as_str));
    registry::names::judge(manifest.name.as_str(), others)
        .map_err(|error| installs::invalid("plugin.name_refused", format!("nothing was installed: {error}")))?;
    let mut notes = remarks;
    notes.extend(needs::lacking(manifest, there));
    notes.extend(needs::broken_by(manifest, there));
    let unsigned = vouched.missing().map(ToString::to_string);
    notes.extend(unsigned.map(|why| format!("{why}; it was installed because pegboard.toml does not say require_signature")));
    let installed = lockfile.get(manifest.name.as_str()).cloned();
    let proposal = Proposal::new(vouched, source, &installs::store(&settings.places), installed.as_ref());
    let differences: Vec<Value> = proposal.differences().iter().map(accept::document).collect();
    let approved = accept::accept(output, proposal, &answer)?;
    if !approved.release().accepted.is_empty() {
        notes.push(format!("what it asks for must be granted, too: pegboard info {}", approved.bundle().manifest().name));
    }
    Ok(Accepted { approved, installed, differences, notes })
}

/// What was said before it was installed.
struct Said {
    installed: Option<Entry>,
    differences: Vec<Value>,
    notes: Vec<String>,
}

impl Accepted {
    /// What goes when it comes, and whether what that was granted stays.
    fn leaving(&self) -> (PluginName, Option<Release>, Hand<'static>) {
        let (release, installed) = (self.approved.release(), self.installed.as_ref().map(|entry| &entry.release));
        let other_hand = installed.is_none_or(|before| registry::install::is_other_hand(before, release));
        let leaving = installed.filter(|leaving| leaving.digest != release.digest);
        (self.name().clone(), leaving.cloned(), if other_hand { Hand::Goes } else { Hand::Stays })
    }

    fn line(&self, what: &str) -> Outcome<String> {
        let before = self.installed.as_ref().map(|entry| &entry.release);
        Done::new(what, self.name().as_str(), before, Some(self.approved.release())).line()
    }

    fn name(&self) -> &PluginName {
        &self.approved.bundle().manifest().name
    }

    fn parts(self) -> (Approved, Said) {
        let Self { approved, installed, differences, notes } = self;
        (approved, Said { installed, differences, notes })
    }
}

impl Said {
    fn applied(self, approved: &Approved) -> Applied {
        let (release, name) = (approved.release(), &approved.bundle().manifest().name);
        let was = self.installed.map(|entry| entry.release.version.to_string());
        let from = was.as_ref().map(|was| format!(" (was {was})")).unwrap_or_default();
        let document = json!({
            "plugin": name.as_str(),
            "version": release.version.to_string(),
            "was": was,
            "digest": format!("sha256:{}", release.digest),
            "source": release.source,
            "signed_by": release.signed_by,
            "differences": self.differences,
            "notes": self.notes,
        });
        Applied { document, head: format!("installed {name} {}{from}", release.version), notes: self.notes }
    }
}

fn unchanged(writer: registry::Writer, before: &Lockfile) -> Outcome<registry::Writer> {
    if writer.lockfile() == before {
        return Ok(writer);
    }
    Err(Failure::usage("install.changed", "what is installed was changed by another command while you were asked")
        .hint("nothing was installed: once more, please"))
}

/// An installed plugin for machines.
pub(crate) fn entry_document(entry: &Entry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "version": entry.release.version.to_string(),
        "digest": format!("sha256:{}", entry.release.digest),
        "source": entry.release.source,
        "signed_by": entry.release.signed_by,
        "active": entry.active,
        "pinned": entry.pinned,
        "channel": installs::index::word(entry.channel),
        "previous": entry.previous.iter().map(|release| json!({
            "version": release.version.to_string(), "digest": format!("sha256:{}", release.digest),
        })).collect::<Vec<_>>(),
    })
}

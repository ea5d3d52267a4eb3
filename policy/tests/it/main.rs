//! Tests of the policy: the two keys, the grants, what a model may read, and the patterns of tokens.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by failing")]

mod advisories;
mod decision;
mod flags;
mod grants;
mod patterns;
mod upstream;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use manifest_schema::{Digest, Manifest, ServedName, parse};
use policy::{Grant, Grants, Level, Plugin, ResolvedCall, SecretValue, Source, Standing, TraceId};
use serde_json::{Map, Value};

/// A manifest with these further keys.
fn manifest(more: &str) -> Manifest {
    let text = format!(
        "name: demo\nversion: 1.0.0\ndescription: A demo\nmcps:\n  - {{name: run, description: Runs, function: f}}\n{more}\n"
    );
    parse("plugin.yaml", &text).unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(&text, false)))
}

fn plugin(more: &str) -> Arc<Plugin> {
    plugin_from(more, Source::Bundled)
}

fn plugin_from(more: &str, source: Source) -> Arc<Plugin> {
    Arc::new(Plugin {
        manifest: manifest(more),
        root: PathBuf::from("/plugins/demo"),
        source,
        content: Digest::of([more.as_bytes()]),
    })
}

fn call(plugin: &Arc<Plugin>) -> ResolvedCall {
    let tool = Arc::new(plugin.manifest.mcps[0].clone());
    ResolvedCall {
        plugin: plugin.clone(),
        name: ServedName::new(&plugin.manifest.name, &tool.name),
        tool,
        args: Map::new(),
        definition: None,
        session: None,
        trace: TraceId("trace".into()),
    }
}

/// What stands on the operator's side, by value.
#[derive(Default)]
struct Operator {
    grant: Option<Grant>,
    secrets: BTreeMap<String, SecretValue>,
    config: Map<String, Value>,
    problem: Option<String>,
}

impl Operator {
    fn standing(&self, reached: Level) -> Standing<'_> {
        Standing {
            grant: self.grant.as_ref(),
            secrets: &self.secrets,
            config: &self.config,
            config_problem: self.problem.as_deref(),
            reached,
        }
    }

    /// With a grant that makes the plugin the holder of these secrets.
    fn handing(mut self, plugin: &Plugin, secrets: &[&str]) -> Self {
        let mut grants = Grants::default();
        for secret in secrets {
            self.grant = Some(grants.hand_secret(plugin, secret).unwrap().clone());
        }
        self
    }

    fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), SecretValue::new(value.to_owned()));
        self
    }
}

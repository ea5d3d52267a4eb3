//! `tools/list` without serialising: the JSON of every tool lies ready in one buffer, and a page is a slice of it.
//!
//! rmcp sends typed results, so the handler answers with a single stand-in tool whose name nobody can guess; the transports
//! put the slice in its place ([`Splices`]).

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Bytes;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rmcp::model::Tool;

use super::meta_tools;
use crate::{Caller, Settings, StartError, View, catalog::Catalog, session};

/// The most lists a catalog keeps: one a view and a set of token patterns.
const MAX_LISTS: usize = 64;
/// Slices whose response was asked for this long ago have been sent, or never will be.
const KEEP: Duration = Duration::from_secs(180);
/// What comes before the cursor's name, so that another kind of cursor can be told from this one later.
const CURSOR: &str = "after:";

/// The lists of one catalog, made when they are first asked for.
#[derive(Debug)]
pub(crate) struct Lists {
    pinned: Arc<[String]>,
    page_size: usize,
    pub(crate) splices: Arc<Splices>,
    /// By view and coverage; the caller is kept so that its key stays its own.
    cache: Mutex<HashMap<(View, usize), Kept>>,
}

type Kept = (Caller, Arc<ToolList>);

impl Lists {
    pub(crate) fn new(settings: &Settings) -> Result<Self, StartError> {
        Ok(Self {
            pinned: settings.pinned.clone().into(),
            page_size: settings.page_size,
            splices: Arc::new(Splices::new()?),
            cache: Mutex::default(),
        })
    }

    /// Empty lists for the next catalog.
    pub(crate) fn fresh(&self) -> Self {
        Self { pinned: self.pinned.clone(), page_size: self.page_size, splices: self.splices.clone(), cache: Mutex::default() }
    }

    /// What a view shows to a caller.
    pub(crate) fn of(&self, catalog: &Catalog, view: View, caller: &Caller) -> Arc<ToolList> {
        let key = (view, caller.list_key());
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, list)) = cached {
            return list;
        }
        let list = Arc::new(ToolList::build(catalog, view, caller, &self.pinned));
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_LISTS {
            cache.clear();
        }
        cache.insert(key, (caller.clone(), list.clone()));
        list
    }

    pub(crate) const fn page_size(&self) -> usize {
        self.page_size
    }
}

/// One list, as JSON.
#[derive(Debug)]
pub(crate) struct ToolList {
    /// Names with where their JSON lies; the meta tools first, then in the order of names.
    items: Vec<(String, Range<usize>)>,
    json: Bytes,
    /// Keys of slices that were handed out, by where they begin.
    keys: Mutex<HashMap<usize, u64>>,
}

/// One page.
pub(crate) struct Page {
    /// Stands for the tools of the page; `None` when it has none.
    pub(crate) stand_in: Option<Tool>,
    pub(crate) next_cursor: Option<String>,
}

impl ToolList {
    fn build(catalog: &Catalog, view: View, caller: &Caller, pinned: &[String]) -> Self {
        let covered: Vec<_> = catalog.tools.iter().filter(|tool| caller.covers(tool.name.as_str())).collect();
        let mut items = Vec::new();
        let mut json = Vec::new();
        let mut push = |name: &str, tool: &[u8]| {
            if !json.is_empty() {
                json.push(b',');
            }
            let start = json.len();
            json.extend_from_slice(tool);
            items.push((name.to_owned(), start..json.len()));
        };
        for tool in meta_tools::definitions(view, &meta_tools::Behind::of(&covered)) {
            push(&tool.name, &serde_json::to_vec(&tool).unwrap_or_default());
        }
        for tool in covered {
            if view == View::All || pinned.iter().any(|name| name == tool.name.as_str()) {
                push(tool.name.as_str(), &tool.json);
            }
        }
        Self { items, json: json.into(), keys: Mutex::default() }
    }

    /// The size of the whole list.
    pub(crate) fn bytes(&self) -> usize {
        self.json.len()
    }

    /// The page after a cursor; `None` when this list has no such cursor.
    pub(crate) fn page(&self, cursor: Option<&str>, size: usize, splices: &Splices) -> Option<Page> {
        let start = match cursor {
            None => 0,
            Some(cursor) => self.after(cursor)?,
        };
        let end = start.saturating_add(size).min(self.items.len());
        let page = self.items.get(start..end)?;
        let stand_in = match (page.first(), page.last()) {
            (Some((_, first)), Some((_, last))) => {
                let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&first.start).copied();
                let (key, tool) = splices.stand_in(known, self.json.slice(first.start..last.end));
                self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(first.start, key);
                Some(tool)
            }
            _ => None,
        };
        let more = end < self.items.len();
        let next_cursor = page.last().filter(|_| more).map(|(name, _)| BASE64_URL_SAFE_NO_PAD.encode(format!("{CURSOR}{name}")));
        Some(Page { stand_in, next_cursor })
    }

    /// Where the page after a cursor begins. A tool that went away since leaves its place in the order.
    fn after(&self, cursor: &str) -> Option<usize> {
        let decoded = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let name = decoded.strip_prefix(CURSOR)?;
        if let Some(at) = self.items.iter().position(|(item, _)| item == name) {
            return Some(at + 1);
        }
        if !name.contains("__") || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return None;
        }
        let meta = self.items.iter().take_while(|(item, _)| !item.contains("__")).count();
        let rest = self.items.get(meta..)?;
        Some(meta + rest.partition_point(|(item, _)| item.as_str() <= name))
    }
}

/// Puts slices of lists where their stand-ins are.
#[derive(Debug)]
pub(crate) struct Splices {
    /// Begins the name of every stand-in. Random, so that no tool's output can pass for one.
    nonce: String,
    next: AtomicU64,
    /// Slices that a response may still ask for, with when they were last handed out.
    open: Mutex<HashMap<u64, (Bytes, Instant)>>,
}

/// A message with a slice in the middle.
pub(crate) struct Spliced<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) slice: Bytes,
    pub(crate) tail: &'a [u8],
}

const STAND_IN_HEAD: &str = "{\"name\":\"";
const STAND_IN_TAIL: &[u8] = b"\",\"inputSchema\":{}}";

impl Splices {
    fn new() -> Result<Self, StartError> {
        Ok(Self { nonce: session::hex(&session::random::<16>()?), next: AtomicU64::new(0), open: Mutex::default() })
    }

    fn stand_in(&self, known: Option<u64>, slice: Bytes) -> (u64, Tool) {
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() > MAX_LISTS {
            open.retain(|_, (_, used)| now.duration_since(*used) < KEEP);
        }
        let key = known.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        open.insert(key, (slice, now));
        (key, Tool::new_with_raw(format!("{}:{key}", self.nonce), None, rmcp::model::JsonObject::new()))
    }

    /// The parts of a serialised message that holds a stand-in; `None` for every other message.
    pub(crate) fn split<'a>(&self, message: &'a [u8]) -> Option<Spliced<'a>> {
        let needle = format!("{STAND_IN_HEAD}{}:", self.nonce);
        let at = message.windows(needle.len()).position(|window| window == needle.as_bytes())?;
        let rest = message.get(at + needle.len()..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let key: u64 = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
        let tail = rest.get(digits..)?.strip_prefix(STAND_IN_TAIL)?;
        let (slice, _) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&key)?.clone();
        Some(Spliced { head: message.get(..at)?, slice, tail })
    }
}

impl Spliced<'_> {
    /// The whole message.
    pub(crate) fn join(&self) -> Bytes {
        [self.head, &self.slice, self.tail].concat().into()
    }
}

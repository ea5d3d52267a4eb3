//! Which tools a search may find: those that the caller covers and the filters let through, worked out once and kept for the next search of
//! the same kind.
//!
//! A kept selection is used for the very catalog and the very index it was made of, and for no other: what a caller may find is never older
//! than what it may call.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use index::{ToolIndex, ToolSet};

use crate::{Caller, ServedTool, catalog::Catalog, search::Filters};

/// Selections that are kept: callers with their filters. Filters are the caller's words, so their number is bounded.
const KEPT: usize = 32;

/// The tools that one kind of search may find.
#[derive(Debug)]
pub(crate) struct Selection {
    generation: u64,
    caller: Caller,
    filters: Filters,
    /// As the index knows them.
    pub(crate) set: ToolSet,
    /// Served tools among them, indexed or not.
    pub(crate) total: usize,
}

impl Selection {
    fn of(catalog: &Catalog, index: &ToolIndex, caller: &Caller, filters: &Filters) -> Self {
        let lets = |tool: &ServedTool| caller.covers(tool.name.as_str()) && filters.lets(tool);
        let mut total = 0;
        let names = catalog.tools.iter().filter(|tool| lets(tool)).map(|tool| tool.name.as_str()).inspect(|_| total += 1);
        let set = index.set_of(names);
        Self { generation: catalog.generation, caller: caller.clone(), filters: filters.clone(), set, total }
    }

    fn is_for(&self, catalog: &Catalog, index: &ToolIndex, caller: &Caller, filters: &Filters) -> bool {
        self.is_of(catalog, index) && self.caller.sees_as(caller) && self.filters == *filters
    }

    fn is_of(&self, catalog: &Catalog, index: &ToolIndex) -> bool {
        self.generation == catalog.generation && index.made(&self.set)
    }
}

/// The selections of late.
#[derive(Debug, Default)]
pub(crate) struct Selections(Mutex<VecDeque<Arc<Selection>>>);

impl Selections {
    /// The tools that this search may find; `None` where that is all of them.
    pub(crate) fn of(&self, catalog: &Catalog, index: &ToolIndex, caller: &Caller, filters: &Filters) -> Option<Arc<Selection>> {
        if !caller.is_limited() && *filters == Filters::default() {
            return None;
        }
        // Not held while tools are looked at: another's search does not wait for this one.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lock().iter().find(|kept| kept.is_for(catalog, index, caller, filters)) {
            return Some(Arc::clone(kept));
        }
        let made = Arc::new(Selection::of(catalog, index, caller, filters));
        let mut kept = lock();
        kept.retain(|kept| kept.is_of(catalog, index));
        kept.truncate(KEPT - 1);
        kept.push_front(Arc::clone(&made));
        Some(made)
    }
}

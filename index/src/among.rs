//! Which tools an answer may hold: all, a set that was worked out once for many searches, or whichever a caller's function lets through.
//!
//! Who may find what is the caller's to decide; nothing here knows callers.

use std::cell::RefCell;
use std::sync::Arc;

use crate::search::{Entry, ToolIndex};
use crate::shared::Chunked;

/// Which tools an answer may hold.
#[derive(Clone, Copy)]
pub enum Among<'a> {
    /// All of them: nothing is asked of any.
    Everything,
    /// Those of a set; a tool costs a look at one bit.
    Set(&'a ToolSet),
    /// Those of which the function says so (by served name). It is asked once about each tool that is about to take a place, which
    /// may be thousands in a large index.
    Asked(&'a dyn Fn(&str) -> bool),
}

impl std::fmt::Debug for Among<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Everything => "Everything",
            Self::Set(_) => "Set",
            Self::Asked(_) => "Asked",
        })
    }
}

/// Some tools of one index. In any other index, an older or newer one of the same tools too, it stands for none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSet {
    index: u64,
    /// By slot.
    bits: Vec<u64>,
    tools: usize,
}

impl ToolSet {
    /// Number of tools.
    pub fn len(&self) -> usize {
        self.tools
    }

    /// No tool at all.
    pub fn is_empty(&self) -> bool {
        self.tools == 0
    }

    fn has(&self, slot: u32) -> bool {
        self.bits.get(slot as usize / 64).is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }
}

impl ToolIndex {
    /// The set of these served names, as far as the index has them.
    pub fn set_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> ToolSet {
        let mut set = ToolSet { index: self.number, bits: vec![0; self.entries.room().div_ceil(64)], tools: 0 };
        for slot in names.into_iter().filter_map(|name| self.slot(name)) {
            if let Some(bits) = set.bits.get_mut(slot as usize / 64) {
                set.tools += usize::from(*bits >> (slot % 64) & 1 == 0);
                *bits |= 1 << (slot % 64);
            }
        }
        set
    }

    /// Whether a set is of this index.
    pub fn made(&self, set: &ToolSet) -> bool {
        set.index == self.number
    }
}

/// [`Among`] for one search.
pub(crate) enum Gate<'g> {
    Open,
    Closed,
    Set(&'g ToolSet),
    Asked { entries: &'g Chunked<Option<Arc<Entry>>>, accept: &'g dyn Fn(&str) -> bool, asked: RefCell<Vec<Option<bool>>> },
}

impl<'g> Gate<'g> {
    pub(crate) fn new(index: &'g ToolIndex, among: Among<'g>) -> Self {
        match among {
            Among::Everything => Self::Open,
            // Slots are given again to other tools: a set of another index could let through what it must not.
            Among::Set(set) if !index.made(set) => Self::Closed,
            Among::Set(set) => Self::Set(set),
            Among::Asked(accept) => {
                Self::Asked { entries: &index.entries, accept, asked: RefCell::new(vec![None; index.entries.room()]) }
            }
        }
    }

    /// Asks the caller's function once a tool, and only about tools that are about to take a place.
    pub(crate) fn accepts(&self, slot: u32) -> bool {
        let (entries, accept, asked) = match self {
            Self::Open => return true,
            Self::Closed => return false,
            Self::Set(set) => return set.has(slot),
            Self::Asked { entries, accept, asked } => (entries, accept, asked),
        };
        let at = slot as usize;
        let Some(Some(entry)) = entries.get(at) else { return false };
        if let Some(Some(known)) = asked.borrow().get(at) {
            return *known;
        }
        // Not borrowed while the caller's code runs.
        let accepted = accept(&entry.id);
        if let Some(known) = asked.borrow_mut().get_mut(at) {
            *known = Some(accepted);
        }
        accepted
    }
}

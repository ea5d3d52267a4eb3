//! From an accepted call to a lesson: which search led to it, whether it may count, and who keeps it. Off unless the operator says `on`.
//!
//! A search hands out a ticket, random and short-lived, that remembers the vector of the request and which tools were offered to whom. A
//! successful call that carries it counts, once a tool, for a tool that was offered, by the caller it was offered to. The words of a request
//! are never kept, neither here nor on disk; the bounds on disk are `index::LessonStore`'s. docs/security-model.md says what they hold off.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use index::{Accepted, LessonStore, Lessons, ToolIndex, vectors::Quantized};
use tokio::task::JoinHandle;

use crate::{Caller, catalog::Catalog, retrieval::document, session};

/// Searches whose answers may still be accepted, all callers together and of one.
const MAX_TICKETS: usize = 1_024;
const MAX_TICKETS_OF_ONE: usize = 128;
/// How long an answer may still be accepted.
const TICKET_LIFE: Duration = Duration::from_secs(15 * 60);
/// Tools of one answer that may be accepted: a request may need several.
const MAX_TAKEN: usize = 3;
/// What counts of one token on one day: in all, and for one tool. The person at the machine is bounded by the store alone.
const PER_TOKEN_AND_DAY: u32 = 50;
const PER_TOKEN_TOOL_AND_DAY: u32 = 2;

/// What is known of accepted calls.
#[derive(Debug)]
pub(crate) struct Learning {
    folder: PathBuf,
    tickets: Mutex<Tickets>,
    /// What each token taught today; as many entries as there are tokens.
    taught: Mutex<HashMap<String, Taught>>,
    /// The lessons of the index that was searched last.
    current: Mutex<Option<Current>>,
    /// Lessons that are being written.
    writing: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Tickets {
    by_id: HashMap<String, Ticket>,
    /// Oldest first; ids that are gone from the map are passed over.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Ticket {
    caller: Option<String>,
    model: String,
    request: Arc<Quantized>,
    offered: Vec<String>,
    taken: Vec<String>,
    issued: Instant,
}

#[derive(Debug, Default)]
struct Taught {
    day: u32,
    total: u32,
    tools: HashMap<String, u32>,
}

#[derive(Debug)]
struct Current {
    index: Arc<ToolIndex>,
    generation: u64,
    stamp: Option<(SystemTime, u64)>,
    lessons: Arc<Lessons>,
}

impl Learning {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            folder: data.join("learned"),
            tickets: Mutex::default(),
            taught: Mutex::default(),
            current: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The lessons for an index; read again where another process has taught, or the tools are others. Blocking, milliseconds.
    pub(crate) fn lessons(&self, index: &Arc<ToolIndex>, catalog: &Catalog) -> Arc<Lessons> {
        let Some((model, dimension)) = index.embedder() else { return Arc::default() };
        let store = LessonStore::new(&self.folder, model, dimension);
        let stamp = std::fs::metadata(store.path()).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = current.as_ref()
            && Arc::ptr_eq(&known.index, index)
            && known.generation == catalog.generation
            && known.stamp == stamp
        {
            return known.lessons.clone();
        }
        let kept = stamp.map_or_else(|| Ok(Default::default()), |_| store.read(today())).unwrap_or_else(|error| {
            tracing::error!(
                error = crate::refresh::chain(&error),
                "what was learned cannot be read; `pegboard learn clear` begins anew"
            );
            Default::default()
        });
        // What was learned for one definition says nothing of another under the same name.
        let same = |tool: &str, definition: &[u8; 32]| {
            catalog.tool(tool).is_some_and(|served| document(served).definition() == *definition)
        };
        let fitting = kept.iter().filter(|(tool, lesson)| same(tool, &lesson.definition));
        let lessons = Arc::new(Lessons::of(index, fitting.map(|(tool, lesson)| (tool.as_str(), lesson.lesson.clone()))));
        *current = Some(Current { index: index.clone(), generation: catalog.generation, stamp, lessons: lessons.clone() });
        lessons
    }

    /// A ticket for an answer; `None` where there is nothing to learn from.
    pub(crate) fn issue(&self, index: &ToolIndex, query: &str, offered: Vec<String>, caller: &Caller) -> Option<String> {
        if offered.is_empty() {
            return None;
        }
        let (model, request) = index.request_vector(query)?;
        let id = session::hex(&session::random::<16>().ok()?);
        let ticket = Ticket {
            caller: caller.name().map(str::to_owned),
            model,
            request: Arc::new(request),
            offered,
            taken: Vec::new(),
            issued: Instant::now(),
        };
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).add(id.clone(), ticket);
        Some(id)
    }

    /// A call that succeeded. Whether it counts is nobody's business but ours: the caller hears nothing of it.
    pub(crate) fn accept(&self, search: &str, tool: &str, caller: &Caller, catalog: &Catalog) {
        let Some(served) = catalog.tool(tool) else { return };
        let taken = self.tickets.lock().unwrap_or_else(PoisonError::into_inner).take(search, tool, caller, Instant::now());
        let Some((model, request)) = taken else { return };
        let day = today();
        if !self.may_teach(caller, tool, day) {
            tracing::debug!(tool, "enough was learned from this token today");
            return;
        }
        let (folder, tool, definition) = (self.folder.clone(), tool.to_owned(), document(served).definition());
        let task = tokio::task::spawn_blocking(move || {
            let store = LessonStore::new(&folder, &model, request.steps.len());
            match store.record(&Accepted { tool: &tool, definition, request: &request }, day) {
                Ok(counted) => tracing::debug!(tool, ?counted, "an accepted call"),
                Err(error) => {
                    tracing::warn!(tool, error = crate::refresh::chain(&error), "an accepted call could not be learned from");
                }
            }
        });
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.retain(|task| !task.is_finished());
        writing.push(task);
    }

    /// Waits until every accepted call is on disk.
    pub(crate) async fn settled(&self) {
        let writing = std::mem::take(&mut *self.writing.lock().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(writing).await;
    }

    fn may_teach(&self, caller: &Caller, tool: &str, day: u32) -> bool {
        let Some(name) = caller.name() else { return true };
        let mut taught = self.taught.lock().unwrap_or_else(PoisonError::into_inner);
        let taught = taught.entry(name.to_owned()).or_default();
        if taught.day != day {
            *taught = Taught { day, ..Taught::default() };
        }
        let of_tool = taught.tools.get(tool).copied().unwrap_or_default();
        if taught.total >= PER_TOKEN_AND_DAY || of_tool >= PER_TOKEN_TOOL_AND_DAY {
            return false;
        }
        taught.total += 1;
        taught.tools.insert(tool.to_owned(), of_tool + 1);
        true
    }
}

impl Tickets {
    fn add(&mut self, id: String, ticket: Ticket) {
        let now = ticket.issued;
        self.by_id.retain(|_, known| now.saturating_duration_since(known.issued) < TICKET_LIFE);
        let of_one = self.by_id.values().filter(|known| known.caller == ticket.caller).count();
        // A caller pushes out its own first, so that nobody empties the table for the others.
        if of_one >= MAX_TICKETS_OF_ONE {
            let oldest = self.order.iter().find(|id| self.by_id.get(*id).is_some_and(|known| known.caller == ticket.caller));
            if let Some(oldest) = oldest.cloned() {
                self.by_id.remove(&oldest);
            }
        }
        while self.by_id.len() >= MAX_TICKETS {
            let Some(oldest) = self.order.pop_front() else { break };
            self.by_id.remove(&oldest);
        }
        self.order.retain(|id| self.by_id.contains_key(id));
        self.order.push_back(id.clone());
        self.by_id.insert(id, ticket);
    }

    /// What a ticket knows of the request, if this caller may take this tool by it, once.
    fn take(&mut self, id: &str, tool: &str, caller: &Caller, now: Instant) -> Option<(String, Arc<Quantized>)> {
        let ticket = self.by_id.get_mut(id)?;
        let fresh = now.saturating_duration_since(ticket.issued) < TICKET_LIFE;
        let offered = ticket.offered.iter().any(|name| name == tool) && !ticket.taken.iter().any(|name| name == tool);
        if !fresh || !offered || ticket.taken.len() >= MAX_TAKEN || ticket.caller.as_deref() != caller.name() {
            return None;
        }
        ticket.taken.push(tool.to_owned());
        Some((ticket.model.clone(), ticket.request.clone()))
    }
}

/// Days since 1970.
fn today() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(seconds / 86_400).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use index::vectors::Quantized;
    use policy::ToolPatterns;

    use super::{Learning, MAX_TAKEN, MAX_TICKETS, MAX_TICKETS_OF_ONE, PER_TOKEN_AND_DAY, TICKET_LIFE, Ticket, Tickets};
    use crate::Caller;

    fn alice() -> Caller {
        Caller::token("alice", ToolPatterns::parse(&["*".to_owned()]).expect("a pattern"))
    }

    fn ticket(caller: Option<&str>, issued: Instant) -> Ticket {
        Ticket {
            caller: caller.map(str::to_owned),
            model: "m".to_owned(),
            request: Arc::new(Quantized { scale: 1.0, steps: [1i8, 0].into() }),
            offered: ["a", "b", "c", "d"].map(str::to_owned).into(),
            taken: Vec::new(),
            issued,
        }
    }

    #[test]
    fn a_ticket_counts_once_a_tool_for_what_was_offered_to_its_caller_in_time() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.add("t".to_owned(), ticket(Some("alice"), now));
        assert!(tickets.take("t", "a", &Caller::local(), now).is_none(), "another caller");
        assert!(tickets.take("u", "a", &alice(), now).is_none(), "no such ticket");
        assert!(tickets.take("t", "z", &alice(), now).is_none(), "not offered");
        assert!(tickets.take("t", "a", &alice(), now + TICKET_LIFE).is_none(), "too late");
        assert!(tickets.take("t", "a", &alice(), now).is_some());
        assert!(tickets.take("t", "a", &alice(), now).is_none(), "twice");
        assert!(tickets.take("t", "b", &alice(), now).is_some() && tickets.take("t", "c", &alice(), now).is_some());
        assert!(tickets.take("t", "d", &alice(), now).is_none(), "more than {MAX_TAKEN} of one answer");
    }

    #[test]
    fn nobody_empties_the_table_for_others() {
        let now = Instant::now();
        let mut tickets = Tickets::default();
        tickets.add("mine".to_owned(), ticket(None, now));
        for number in 0..2 * MAX_TICKETS {
            tickets.add(format!("{number}"), ticket(Some("alice"), now));
        }
        assert_eq!(tickets.by_id.len(), MAX_TICKETS_OF_ONE + 1);
        assert!(tickets.order.len() <= MAX_TICKETS && tickets.take("mine", "a", &Caller::local(), now).is_some());
    }

    #[test]
    fn a_token_teaches_so_much_a_day_and_so_much_of_a_tool() {
        let learning = Learning::new(std::path::Path::new("/nowhere"));
        assert!(learning.may_teach(&alice(), "a", 1) && learning.may_teach(&alice(), "a", 1));
        assert!(!learning.may_teach(&alice(), "a", 1), "a third time for one tool");
        let more = (0..100).filter(|tool| learning.may_teach(&alice(), &format!("t{tool}"), 1)).count();
        assert_eq!(more + 2, PER_TOKEN_AND_DAY as usize);
        assert!(learning.may_teach(&alice(), "a", 2), "another day");
    }
}

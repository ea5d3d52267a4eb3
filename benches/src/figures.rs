//! What a measurement says: percentiles, rate, CPU per call. And the table that sets ours beside a peer's.

use std::time::Duration;

use serde_json::{Value, json};

/// One measured series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    sorted: Vec<Duration>,
    wall: Duration,
    cpu: f64,
}

impl Figures {
    /// From the time of each call, the wall clock of all, and the CPU seconds that the server's processes took.
    pub(crate) fn new(mut taken: Vec<Duration>, wall: Duration, cpu: f64) -> Self {
        taken.sort_unstable();
        Self { sorted: taken, wall, cpu }
    }

    /// A series of one.
    pub(crate) fn once(taken: Duration) -> Self {
        Self { sorted: vec![taken], wall: taken, cpu: 0.0 }
    }

    /// The series of several rounds as one.
    pub(crate) fn joined(rounds: Vec<Self>) -> Self {
        let (wall, cpu) = (rounds.iter().map(|round| round.wall).sum(), rounds.iter().map(|round| round.cpu).sum());
        Self::new(rounds.into_iter().flat_map(|round| round.sorted).collect(), wall, cpu)
    }

    /// Milliseconds that `percent` of the calls stay under.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let index = (self.sorted.len() * percent / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).map_or(f64::NAN, |taken| taken.as_secs_f64() * 1000.0)
    }

    /// The median in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.wall.as_secs_f64()
    }

    /// CPU milliseconds a call, of the whole process tree.
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.cpu * 1000.0 / self.sorted.len() as f64
    }

    fn words(&self) -> String {
        let rate =
            if self.sorted.len() > 1 { format!(", {:.0}/s, CPU {:.2} ms", self.rate(), self.cpu_ms()) } else { String::new() };
        format!("p50 {:.3} ms, p95 {:.3} ms{rate}", self.p50(), self.percentile(95))
    }
}

/// One line of the table.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Ours.
    pub(crate) ours: Figures,
    /// The peer's name and figures, where there is a peer.
    pub(crate) peer: Option<(&'static str, Figures)>,
    /// The promise in words, the number it is about, and its bound; met when the number is not above.
    pub(crate) promises: Vec<Promise>,
    /// Anything else worth telling.
    pub(crate) note: String,
}

/// A promise and what became of it.
pub(crate) struct Promise {
    /// In words, with the bound.
    pub(crate) words: String,
    /// What was measured.
    pub(crate) measured: f64,
    /// Whether it holds.
    pub(crate) holds: bool,
}

impl Promise {
    /// Holds when `measured` is at most `bound`.
    pub(crate) fn at_most(words: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { words: words.into(), measured, holds: measured <= bound }
    }

    /// Holds when `measured` is at least `bound`.
    pub(crate) fn at_least(words: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { words: words.into(), measured, holds: measured >= bound }
    }
}

impl Row {
    /// Prints the row for people.
    pub(crate) fn print(&self) {
        println!("\n{}", self.what);
        println!("  pegboard   {}", self.ours.words());
        if let Some((name, peer)) = &self.peer {
            println!("  {name:<10} {}", peer.words());
            println!("  ratio      p50 {:.2}, rate {:.2}", self.ours.p50() / peer.p50(), self.ours.rate() / peer.rate());
        }
        for promise in &self.promises {
            println!(
                "  {}  {} (measured {:.3})",
                if promise.holds { "holds " } else { "SHORT " },
                promise.words,
                promise.measured
            );
        }
        if !self.note.is_empty() {
            println!("  {}", self.note);
        }
    }

    /// The row for machines.
    pub(crate) fn json(&self) -> Value {
        let figures = |figures: &Figures| json!({"p50_ms": figures.p50(), "p95_ms": figures.percentile(95), "per_second": figures.rate(), "cpu_ms": figures.cpu_ms()});
        let promises: Vec<Value> = self
            .promises
            .iter()
            .map(|promise| json!({"promise": promise.words, "measured": promise.measured, "holds": promise.holds}))
            .collect();
        let peer = self.peer.as_ref().map(|(name, peer)| json!({"name": name, "figures": figures(peer)}));
        json!({"what": self.what, "pegboard": figures(&self.ours), "peer": peer, "promises": promises, "note": self.note})
    }
}

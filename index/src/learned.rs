//! What accepted calls taught: for each tool the mean of the requests that led to it, as one more vector. In memory; keeping it is
//! `lesson_store`'s.
//!
//! A lesson can lift a tool in an answer and never lower one, and it lifts by a bounded cosine: whoever teaches can make a tool more
//! likely where it was near already, and cannot put it before tools that are much nearer by their own words.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fusion::Ranked;
use crate::search::ToolIndex;
use crate::vectors::{Quantized, VectorTable};

/// Most that a lesson adds to a tool's cosine.
pub const MAX_LIFT: f32 = 0.3;
/// Requests that count at most; more make the mean surer, not stronger.
const MAX_COUNT: f32 = 5.0;
/// How near a tool's text and the mean of its requests usually are; the exact cosine is not known here, and hardly matters.
const USUALLY: f32 = 0.35;
/// Share of meaning gained where most tools have lessons: words that people used say more than words that authors chose.
const SHARE_GAINED: f32 = 0.2;

/// The requests that led to one tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Their mean.
    pub mean: Quantized,
    /// How many there were, older ones counting less.
    pub count: f32,
}

/// The lessons of the tools of one index.
#[derive(Debug, Default)]
pub struct Lessons {
    rows: Vec<(u32, Arc<Lesson>)>,
    gained: f32,
}

impl Lessons {
    /// Places lessons by served name; those of tools that are not there are left out.
    pub fn of<'a>(index: &ToolIndex, lessons: impl IntoIterator<Item = (&'a str, Arc<Lesson>)>) -> Self {
        let rows: Vec<_> = lessons.into_iter().filter_map(|(id, lesson)| Some((index.slot(id)?, lesson))).collect();
        let share = rows.len() as f32 / index.len().max(1) as f32;
        Self { gained: SHARE_GAINED * (2.0 * share).min(1.0), rows }
    }

    /// Tools with a lesson.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the dense side's share gains.
    pub(crate) fn share_gained(&self) -> f32 {
        self.gained
    }

    /// Lifts tools in the list of a request, best first, where a lesson says more; those that were not near enough for it may enter.
    pub(crate) fn lift(
        &self,
        query: &Quantized,
        list: &mut Ranked,
        depth: usize,
        table: &VectorTable,
        accept: &mut dyn FnMut(u32) -> bool,
    ) {
        if self.rows.is_empty() {
            return;
        }
        let steps: Vec<i16> = query.steps.iter().map(|step| i16::from(*step)).collect();
        let mut places: HashMap<u32, usize> = list.iter().enumerate().map(|(place, (slot, _))| (*slot, place)).collect();
        for (slot, lesson) in &self.rows {
            let place = places.get(slot).and_then(|place| list.get_mut(*place));
            let own = place.as_ref().map(|(_, cosine)| *cosine).or_else(|| table.cosine(&steps, query.scale, *slot));
            let Some(lifted) = own.and_then(|own| lesson.lifted(own, query)) else { continue };
            match place {
                Some(place) => place.1 = lifted,
                None if accept(*slot) => {
                    places.insert(*slot, list.len());
                    list.push((*slot, lifted));
                }
                None => {}
            }
        }
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(depth);
    }
}

impl Lesson {
    /// The cosine with this lesson of a tool whose own is `cosine`; nothing where it says no more.
    fn lifted(&self, cosine: f32, query: &Quantized) -> Option<f32> {
        let count = self.count.clamp(0.0, MAX_COUNT);
        // The cosine with the sum of the tool's own vector and `count` times the mean.
        let both = cosine + count * cosine_of(query, &self.mean);
        let lifted = both / (1.0 + count * count + 2.0 * USUALLY * count).sqrt();
        (lifted > cosine).then(|| lifted.min(cosine + MAX_LIFT))
    }
}

fn cosine_of(a: &Quantized, b: &Quantized) -> f32 {
    if a.steps.len() != b.steps.len() {
        return 0.0;
    }
    let products = a.steps.iter().zip(&b.steps).map(|(a, b)| i32::from(*a) * i32::from(*b));
    products.sum::<i32>() as f32 * a.scale * b.scale
}

/// The mean of unit vectors, each with its weight; `None` where they cancel out.
pub fn mean<'a>(vectors: impl IntoIterator<Item = (&'a Quantized, f32)>) -> Option<Quantized> {
    let mut sum: Vec<f32> = Vec::new();
    for (vector, weight) in vectors {
        sum.resize(vector.steps.len(), 0.0);
        sum.iter_mut().zip(&vector.steps).for_each(|(sum, step)| *sum += weight * vector.scale * f32::from(*step));
    }
    let mean = Quantized::new(&sum, sum.len()).ok()?;
    (mean.scale > 0.0).then_some(mean)
}

//! Server-sent events, parsed by hand and bounded: one event may not grow without end.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// `message` when the server names none.
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) id: Option<String>,
}

/// An event was larger than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Puts events together from chunks.
#[derive(Debug)]
pub(crate) struct Events {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    limit: usize,
}

impl Events {
    pub(crate) fn new(limit: usize) -> Self {
        Self { line: Vec::new(), event: Event::default(), has_data: false, limit }
    }

    /// Takes a chunk and returns the events that it completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for byte in chunk {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.event.data.len() > self.limit {
                    return Err(TooLarge);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if let Some(event) = self.take_line(line) {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "id" => self.event.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_events_together_across_chunks_and_bounds_them() {
        let mut events = Events::new(100);
        assert_eq!(events.push(b": hello\r\nevent: endpoint\r\nda").unwrap(), []);
        let found = events.push(b"ta: /messages\r\n\r\nid: 7\ndata: a\ndata: b\n\n\n").unwrap();
        let expected = [
            Event { name: "endpoint".to_owned(), data: "/messages".to_owned(), id: None },
            Event { name: String::new(), data: "a\nb".to_owned(), id: Some("7".to_owned()) },
        ];
        assert_eq!(found, expected);
        assert_eq!(events.push(&[b'x'; 101]), Err(TooLarge));
    }
}

//! The encoder of fastembed over an ONNX model in a local folder, on a thread of its own.
//!
//! A session takes `&mut self` and blocks, so one thread owns it and two bounded queues lead to it: requests first, tools'
//! texts after, in chunks, so that a request waits for one chunk at most. Nothing is downloaded.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fastembed::{InitOptionsUserDefined, OutputKey, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use sha2::{Digest, Sha256};

use crate::embed::{EmbedError, Embedder};
use crate::encoding::{Encoding, GraphOutput, MAX_CONFIG_BYTES, Pooled, read_bounded};
use crate::runtime::{self, EmbedderUnavailable, Unavailable};

/// The files a model consists of.
pub(crate) const MODEL_FILES: [&str; 5] =
    ["model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];

/// Tokens of a text that are read; descriptions put the gist first.
const MAX_TOKENS: usize = 128;
/// Texts in one run of the model. Dynamic int8 scales by batch, and larger batches are slower.
const CHUNK: usize = 32;
/// Requests that may wait.
const QUERY_QUEUE: usize = 64;
/// Chunks of documents that may wait.
const DOCUMENT_QUEUE: usize = 4;
/// How long a request waits before the search goes on without it.
const QUERY_PATIENCE: Duration = Duration::from_millis(500);
/// How long a chunk of documents waits: a stuck model must not hold an update for ever.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(300);
const MAX_MODEL_BYTES: u64 = 2 << 30;
/// Weights outside of the graph: what a graph of its own cannot hold.
const MAX_DATA_BYTES: u64 = 4 << 30;
/// Longer vectors than any encoder of texts has; a hundred thousand of them must fit into memory.
const MAX_DIMENSION: usize = 8192;

/// A sentence encoder in ONNX form, for example all-MiniLM-L6-v2.
#[derive(Debug)]
pub struct FastEmbedder {
    id: String,
    dimension: usize,
    query_prefix: String,
    document_prefix: String,
    patience: Duration,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl FastEmbedder {
    /// Loads the runtime and the model. Blocking: half a second for a small model.
    ///
    /// The first library of a process stays; see [`Unavailable::AlreadyLoaded`].
    pub fn open(model_dir: &Path, onnxruntime: &Path) -> Result<Self, EmbedderUnavailable> {
        let model = ModelFiles::read(model_dir)?;
        let environment = runtime::load(onnxruntime)?;
        let id = model.id(model_dir);
        let Encoding { query_prefix, document_prefix, .. } = model.encoding.clone();
        let queue = Arc::new(Queue::default());
        let (report, opened) = sync_channel(1);
        let worker = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("embedder".to_owned())
            .spawn(move || {
                // Whatever ends this thread, those who wait and those who come later must hear of it.
                let _closing = CloseOnDrop(Arc::clone(&worker));
                match model.session(environment) {
                    Ok((session, dimension)) => {
                        let _ = report.send(Ok(dimension));
                        work(session, &worker);
                    }
                    Err(message) => drop(report.send(Err(message))),
                }
            })
            .map_err(|error| Unavailable::NoThread { message: error.to_string() })?;
        let refused = |message: String| Unavailable::ModelRefused { folder: model_dir.to_owned(), message };
        // A panic in the tokenizer or the runtime drops the sender: it ends here as a refusal.
        let dimension = opened.recv().unwrap_or_else(|_| Err("the runtime panicked on it".to_owned())).map_err(refused)?;
        Ok(Self { id, dimension, query_prefix, document_prefix, patience: QUERY_PATIENCE, queue, thread: Some(thread) })
    }

    /// Another time that a request waits: who measures quality would rather wait than measure something else.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn answer(&self, answer: &Receiver<Answer>, patience: Duration) -> Answer {
        match answer.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(EmbedError::TimedOut { milliseconds: patience.as_millis() as u64 }),
            Err(RecvTimeoutError::Disconnected) => Err(EmbedError::Stopped),
        }
    }
}

impl Embedder for FastEmbedder {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed_query(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let answer = self.queue.push_query(format!("{}{text}", self.query_prefix))?;
        let mut vectors = self.answer(&answer, self.patience)?;
        vectors.pop().ok_or(EmbedError::BadCount { expected: 1, found: 0 })
    }

    fn embed_documents(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let prefixed = chunk.iter().map(|text| format!("{}{text}", self.document_prefix)).collect();
            let answer = self.queue.push_documents(prefixed)?;
            vectors.extend(self.answer(&answer, DOCUMENT_PATIENCE)?);
        }
        Ok(vectors)
    }
}

impl Drop for FastEmbedder {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The bytes of a model folder, read and bounded before anything is loaded.
struct ModelFiles {
    onnx: Vec<u8>,
    /// Weights outside of the graph, by name.
    data: Vec<(String, Vec<u8>)>,
    tokenizer: TokenizerFiles,
    encoding: Encoding,
}

impl ModelFiles {
    fn read(folder: &Path) -> Result<Self, Unavailable> {
        let config = |name: &str| read_bounded(&folder.join(name), MAX_CONFIG_BYTES);
        let tokenizer = TokenizerFiles {
            tokenizer_file: config("tokenizer.json")?,
            config_file: config("config.json")?,
            special_tokens_map_file: config("special_tokens_map.json")?,
            tokenizer_config_file: config("tokenizer_config.json")?,
        };
        let onnx = read_bounded(&folder.join("model.onnx"), MAX_MODEL_BYTES)?;
        let encoding = Encoding::of(folder, &Encoding::default())?;
        let read = |name: &String| Ok((name.clone(), read_bounded(&folder.join(name), MAX_DATA_BYTES)?));
        let data = encoding.data.iter().map(read).collect::<Result<_, Unavailable>>()?;
        Ok(Self { onnx, data, tokenizer, encoding })
    }

    /// Folder name for people, digest for truth: another file under the same name is another model, and so is one that is asked another way.
    fn id(&self, folder: &Path) -> String {
        let mut digest = Sha256::new();
        digest.update(&self.onnx);
        digest.update(&self.tokenizer.tokenizer_file);
        digest.update(format!("{:?}/{MAX_TOKENS}", self.pooling()));
        let Encoding { query_prefix, document_prefix, output, .. } = &self.encoding;
        // Of a model that needs nothing of this the id stays what it was.
        if !(query_prefix.is_empty() && document_prefix.is_empty() && output.is_none() && self.data.is_empty()) {
            digest.update(format!("/{query_prefix:?}/{document_prefix:?}/{output:?}"));
            self.data.iter().for_each(|(_, bytes)| digest.update(Sha256::digest(bytes)));
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name = folder.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy());
        format!("{name}@{digest}")
    }

    fn pooling(&self) -> Pooling {
        match self.encoding.pooling {
            Pooled::Mean => Pooling::Mean,
            Pooled::FirstToken => Pooling::Cls,
        }
    }

    fn session(self, environment: ort::environment::Environment) -> Result<(TextEmbedding, usize), String> {
        let pooling = self.pooling();
        let mut model = UserDefinedEmbeddingModel::new(self.onnx, self.tokenizer).with_pooling(pooling);
        for (name, bytes) in self.data {
            model = model.with_external_initializer(name, bytes);
        }
        model.output_key = self.encoding.output.map(|output| match output {
            GraphOutput::SentenceEmbedding => OutputKey::ByName("sentence_embedding"),
        });
        let options =
            InitOptionsUserDefined::new().with_environment(environment).with_max_length(MAX_TOKENS).with_intra_threads(1);
        let mut session = TextEmbedding::try_new_from_user_defined(model, options).map_err(|error| error.to_string())?;
        let vectors = session.embed(["which tool fits these words"], None).map_err(|error| error.to_string())?;
        match (vectors.first().map_or(0, Vec::len), self.encoding.dimension) {
            (0, _) => Err("it gives empty vectors".to_owned()),
            (found, _) if found > MAX_DIMENSION => {
                Err(format!("expected vectors of at most {MAX_DIMENSION} numbers, found {found}"))
            }
            (found, Some(expected)) if found != expected => Err(format!("expected vectors of {expected} numbers, found {found}")),
            (found, _) => Ok((session, found)),
        }
    }
}

type Answer = Result<Vec<Vec<f32>>, EmbedError>;

struct Job {
    texts: Vec<String>,
    answer: SyncSender<Answer>,
}

/// What waits for the thread.
#[derive(Default)]
struct Waiting {
    queries: VecDeque<Job>,
    documents: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when a job came, a document's place became free, or the queue was closed.
    changed: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.lock();
        write!(f, "Queue({} queries, {} chunks)", waiting.queries.len(), waiting.documents.len())
    }
}

impl Queue {
    /// No code panics while it holds this lock; a poisoned one still guards sound data.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses rather than waits: a search can go on without its vector.
    fn push_query(&self, text: String) -> Result<Receiver<Answer>, EmbedError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(EmbedError::Stopped);
        }
        if waiting.queries.len() >= QUERY_QUEUE {
            return Err(EmbedError::Busy { waiting: waiting.queries.len() });
        }
        let (answer, receiver) = sync_channel(1);
        waiting.queries.push_back(Job { texts: vec![text], answer });
        self.changed.notify_all();
        Ok(receiver)
    }

    /// Waits for a place.
    fn push_documents(&self, texts: Vec<String>) -> Result<Receiver<Answer>, EmbedError> {
        let full = |waiting: &mut Waiting| waiting.documents.len() >= DOCUMENT_QUEUE && !waiting.closed;
        let mut waiting = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return Err(EmbedError::Stopped);
        }
        let (answer, receiver) = sync_channel(1);
        waiting.documents.push_back(Job { texts, answer });
        self.changed.notify_all();
        Ok(receiver)
    }

    fn next(&self) -> Option<Job> {
        let idle = |waiting: &mut Waiting| waiting.queries.is_empty() && waiting.documents.is_empty() && !waiting.closed;
        let mut waiting = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return None;
        }
        let job = waiting.queries.pop_front().or_else(|| waiting.documents.pop_front());
        self.changed.notify_all();
        job
    }

    /// Drops what waits; its askers see [`EmbedError::Stopped`].
    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.queries.clear();
        waiting.documents.clear();
        self.changed.notify_all();
    }
}

struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn work(mut session: TextEmbedding, queue: &Queue) {
    while let Some(job) = queue.next() {
        let expected = job.texts.len();
        let answer = match session.embed(&job.texts, None) {
            Ok(vectors) if vectors.len() == expected => Ok(vectors),
            Ok(vectors) => Err(EmbedError::BadCount { expected, found: vectors.len() }),
            Err(error) => Err(EmbedError::Model { message: error.to_string() }),
        };
        // The asker may have lost patience.
        let _ = job.answer.try_send(answer);
    }
}

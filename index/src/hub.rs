//! The models that fastembed knows on its hub: where their files lie, and how each is asked. A table; nothing is fetched here.
//!
//! Repositories, files, dimensions, outputs and pooling are fastembed's. What is put before a text is not in its table: those words are of the
//! models' own cards, and a test holds the whole table, so that a model that a new fastembed brings is looked at before it is offered.

use fastembed::{EmbeddingModel, OutputKey, Pooling, SparseTextEmbedding, TextEmbedding, TextRerank};

use crate::encoding::{Encoding, GraphOutput, Pooled};

/// A sentence encoder on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// Its name here: the repository's, with `-Q` for the one in 8-bit steps and `-Q4` for the one in 4-bit steps.
    pub name: String,
    /// Its name in fastembed.
    pub alias: String,
    /// Owner and name on the hub.
    pub repository: String,
    /// Path of the graph in the repository.
    pub graph: String,
    /// Paths of the weights that are outside of the graph.
    pub data: Vec<String>,
    /// What it is, for people.
    pub about: String,
    /// How it is asked and read.
    pub encoding: Encoding,
}

/// A model that fastembed knows and that finds no tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfitModel {
    /// Owner and name on the hub.
    pub repository: String,
    /// Why not.
    pub reason: &'static str,
}

const SPARSE: &str = "it weighs words and gives no vector of a text; words are weighed without a model";
const RERANKER: &str = "it compares a request with one text at a time and gives no vector of either";

const IMAGES: &str = "it finds images by their captions, and tells texts apart by what could be seen";

const PASSAGES: &str = "Represent this sentence for searching relevant passages: ";
const PASSAGES_ZH: &str = "为这个句子生成表示以用于检索相关文章：";

/// Every sentence encoder of fastembed, by name.
#[must_use]
pub fn hub_models() -> Vec<HubModel> {
    let mut models: Vec<HubModel> = TextEmbedding::list_supported_models()
        .iter()
        .filter(|info| !is_of_images(&info.model_code))
        .filter_map(hub_model)
        .collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

/// The models of fastembed that are no sentence encoders, by repository.
#[must_use]
pub fn unfit_models() -> Vec<UnfitModel> {
    let sparse = SparseTextEmbedding::list_supported_models().into_iter().map(|info| (info.model_code, SPARSE));
    let rerankers = TextRerank::list_supported_models().into_iter().map(|info| (info.model_code, RERANKER));
    let texts = TextEmbedding::list_supported_models().into_iter().map(|info| info.model_code);
    let images = texts.filter(|repository| is_of_images(repository)).map(|repository| (repository, IMAGES));
    let fit = hub_models();
    let mut unfit: Vec<UnfitModel> = sparse
        .chain(rerankers)
        .chain(images)
        // One that can do both is fit.
        .filter(|(repository, _)| !fit.iter().any(|model| model.repository == *repository))
        .map(|(repository, reason)| UnfitModel { repository, reason })
        .collect();
    unfit.sort_by(|a, b| a.repository.cmp(&b.repository));
    unfit
}

fn is_of_images(repository: &str) -> bool {
    last(repository).starts_with("clip-")
}

/// `None` for a model that is read in a way that is not known here.
fn hub_model(info: &fastembed::ModelInfo<EmbeddingModel>) -> Option<HubModel> {
    let output = match info.output_key {
        None => None,
        Some(OutputKey::ByName("sentence_embedding")) => Some(GraphOutput::SentenceEmbedding),
        Some(_) => return None,
    };
    let pooling = match TextEmbedding::get_default_pooling_method(&info.model)? {
        Pooling::Mean => Pooled::Mean,
        Pooling::Cls => Pooled::FirstToken,
    };
    let alias = info.model.to_string();
    let (query, document) = prefixes(&info.model_code.to_lowercase());
    let encoding = Encoding {
        pooling,
        query_prefix: query.to_owned(),
        document_prefix: document.to_owned(),
        output,
        data: info.additional_files.iter().map(|path| last(path).to_owned()).collect(),
        dimension: Some(info.dim),
    };
    Some(HubModel {
        name: name(&info.model_code, &alias),
        alias,
        repository: info.model_code.clone(),
        graph: info.model_file.clone(),
        data: info.additional_files.clone(),
        about: info.description.clone(),
        encoding,
    })
}

/// Several models may share a repository: those in steps say so.
fn name(repository: &str, alias: &str) -> String {
    let name = last(repository);
    let steps = ["Q4", "Q"].into_iter().find(|steps| alias.ends_with(steps));
    match steps.filter(|steps| !name.ends_with(&format!("-{steps}"))) {
        Some(steps) => format!("{name}-{steps}"),
        None => name.to_owned(),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What stands before a request and before a tool's text, in the words that the model was trained with.
fn prefixes(repository: &str) -> (&'static str, &'static str) {
    let has = |part: &str| repository.contains(part);
    if has("/bge-") && has("-en-") || has("/mxbai-embed") || has("/snowflake-arctic-embed") {
        (PASSAGES, "")
    } else if has("/bge-") && has("-zh-") {
        (PASSAGES_ZH, "")
    } else if has("/multilingual-e5-") {
        ("query: ", "passage: ")
    } else if has("/nomic-embed-text") || has("/modernbert-embed") {
        ("search_query: ", "search_document: ")
    } else if has("/embeddinggemma") {
        ("task: search result | query: ", "title: none | text: ")
    } else {
        ("", "")
    }
}
